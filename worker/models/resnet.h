// ResNet10, 18 and 34 (K. He et al., CVPR 2016) as cross-domain few-shot learning uses them: a 7 x
// 7 convolution of stride 2 and 3 x 3 max pooling of stride 2, then four stages of 64, 128, 256 and
// 512 channels, each but the first beginning with stride 2. A basic block is two 3 x 3 convolutions
// without bias; where the number of channels changes the shortcut is a 1 x 1 convolution. A
// feature-wise transformation follows every block's second normalisation and every shortcut's.
// Pictures of 224 pixels become maps of 7, of 84 pixels maps of 3; there is no pooling at the end.
#ifndef EVOGRAD_WORKER_MODELS_RESNET_H_
#define EVOGRAD_WORKER_MODELS_RESNET_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/conv.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/models/backbone.h"

namespace evograd {

class ResNet : public Backbone {
 public:
  // Blocks of each of the four stages.
  explicit ResNet(const std::vector<int>& stages);

  at::Tensor Forward(const at::Tensor& images, const FeaturePass& pass) override;
  int64_t channels() const override { return channels_; }
  int64_t OutputExtent(int64_t extent) const override;

 private:
  class Block;

  torch::nn::Conv2d convolution_;
  std::shared_ptr<TransformedBatchNorm> norm_;
  std::vector<std::shared_ptr<Block>> blocks_;
  int64_t channels_ = 64;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_RESNET_H_
