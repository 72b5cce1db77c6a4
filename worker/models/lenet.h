// LeNet for grey pictures of 28 x 28 pixels: two convolutions (6 and 16 channels of 5 x
// 5, the first padded by 2), each followed by ReLU and 2 x 2 max pooling, then linear layers
// 400-120-84-classes. 61,706 parameters for 10 classes.
//
//   auto net = std::make_shared<LeNet>();
//   net->to(at::kCUDA, at::kFloat);
//   at::Tensor logits = net->Forward(images);  // [N, 1, 28, 28] -> [N, 10]
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_LENET_H_
#define EVOGRAD_WORKER_MODELS_LENET_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>

#include "worker/models/image_classifier.h"

namespace evograd {

class LeNet : public ImageClassifier {
 public:
  static constexpr int64_t kExtent = 28;
  static constexpr int64_t kClasses = 10;

  explicit LeNet(int64_t classes = kClasses);

  at::Tensor Forward(const at::Tensor& images) override;

  // PyTorch's default initialisation, every layer's weight and bias uniform in +-1/sqrt(fan in).
  void Initialise(uint64_t seed) override;

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::Conv2d conv2_;
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
  torch::nn::Linear fc3_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_LENET_H_
