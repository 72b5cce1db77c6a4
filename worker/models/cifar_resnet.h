// The residual network for small images (K. He et al., "Deep Residual Learning for Image
// Recognition", CVPR 2016, section 4.2): a 3 x 3 convolution, three groups of (depth - 2) / 6
// blocks with 16, 32 and 64 channels times `width`, the second and third at half the resolution
// before, the mean over all pixels, a linear layer. A block is conv-BN-ReLU-conv-BN, its input
// added and ReLU taken; where its shape changes, the input is subsampled and padded with channels
// of zero (option A: no parameters), equally many before and after.
//
//   CifarResNetOptions options;                            // ResNet-32: 464,154 parameters
//   auto net = std::make_shared<CifarResNet>(options);
//   at::Tensor logits = net->Forward(images);              // [N, 3, 32, 32] -> [N, 10]
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_CIFAR_RESNET_H_
#define EVOGRAD_WORKER_MODELS_CIFAR_RESNET_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/models/image_classifier.h"

namespace evograd {

struct CifarResNetOptions {
  int64_t depth = 32;  // 6 n + 2
  int64_t width = 1;
  int64_t channels = 3;  // of the images
  int64_t classes = 10;
};

class CifarResNet : public ImageClassifier {
 public:
  explicit CifarResNet(const CifarResNetOptions& options);
  ~CifarResNet() override;

  at::Tensor Forward(const at::Tensor& images) override;

  // Weights of convolutions and of the linear layer normal with variance 2 / fan in, as in the
  // published code of Meta-Weight-Net and EvoGrad; the linear bias uniform in +-1/sqrt(fan in);
  // batch norm 1 and 0.
  void Initialise(uint64_t seed) override;

 private:
  struct Block;

  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::Linear linear_ = nullptr;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_CIFAR_RESNET_H_
