// Conv4 and Conv6 as relation networks use them (F. Sung et al., "Learning to compare", CVPR 2018):
// blocks of a 3 x 3 convolution of 64 channels with bias, batch normalisation with a feature-wise
// transformation, and ReLU. The first two blocks do not pad, and pool by 2; the others pad by 1.
// Pictures of 84 pixels become maps of 19.
#ifndef EVOGRAD_WORKER_MODELS_CONV_BACKBONE_H_
#define EVOGRAD_WORKER_MODELS_CONV_BACKBONE_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/conv.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/models/backbone.h"

namespace evograd {

class ConvBackbone : public Backbone {
 public:
  explicit ConvBackbone(int blocks);

  at::Tensor Forward(const at::Tensor& images, const FeaturePass& pass) override;
  int64_t channels() const override { return kChannels; }
  int64_t OutputExtent(int64_t extent) const override;

 private:
  static constexpr int64_t kChannels = 64;
  static constexpr int kPooledBlocks = 2;

  struct Block {
    torch::nn::Conv2d convolution;
    std::shared_ptr<TransformedBatchNorm> norm;
  };
  std::vector<Block> blocks_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_CONV_BACKBONE_H_
