// Wide residual network for small images (S. Zagoruyko, N. Komodakis, "Wide Residual Networks",
// BMVC 2016): a 3 x 3 convolution to 16 channels, three groups of (depth - 4) / 6 blocks with 16,
// 32 and 64 channels times `width`, the second and third at half the resolution before, BN-ReLU,
// the mean over all pixels, a linear layer. A block is BN-ReLU-conv-BN-ReLU-dropout-conv with its
// input added; where the number of channels changes, a 1 x 1 convolution of the first BN-ReLU's
// result is added instead.
//
//   WideResNetOptions options;                             // WRN-28-10: 36,479,194 parameters
//   auto net = std::make_shared<WideResNet>(options);
//   at::Tensor logits = net->Forward(images);              // [N, 3, 32, 32] -> [N, 10]
//
// Dropout draws from LibTorch's default generator. Threads: one at a time. Errors: LibTorch's
// exceptions.
#ifndef EVOGRAD_WORKER_MODELS_WIDE_RESNET_H_
#define EVOGRAD_WORKER_MODELS_WIDE_RESNET_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/models/image_classifier.h"

namespace evograd {

struct WideResNetOptions {
  int64_t depth = 28;  // 6 n + 4
  int64_t width = 10;
  int64_t channels = 3;  // of the images
  int64_t classes = 10;
  // Meta-Weight-Net's published script has 0; the paper of the network also tries 0.3.
  double dropout = 0;
};

class WideResNet : public ImageClassifier {
 public:
  explicit WideResNet(const WideResNetOptions& options);
  ~WideResNet() override;

  at::Tensor Forward(const at::Tensor& images) override;

  // As Meta-Weight-Net's published code: weights of convolutions normal with variance 2 / fan out,
  // the linear weight uniform in +-1/sqrt(fan in), its bias 0; batch norm 1 and 0.
  void Initialise(uint64_t seed) override;

 private:
  struct Block;

  torch::nn::Conv2d conv1_;
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::BatchNorm2d bn_ = nullptr;
  torch::nn::Linear linear_ = nullptr;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_WIDE_RESNET_H_
