#include "worker/models/lenet.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <cmath>

#include "worker/models/thin_conv.h"

namespace evograd {
namespace {

constexpr int64_t kPadding = 2;

}  // namespace

LeNet::LeNet(int64_t classes)
    : conv1_(register_module(
          "conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 6, 5).padding(kPadding)))),
      conv2_(register_module("conv2", torch::nn::Conv2d(6, 16, 5))),
      fc1_(register_module("fc1", torch::nn::Linear(16 * 5 * 5, 120))),
      fc2_(register_module("fc2", torch::nn::Linear(120, 84))),
      fc3_(register_module("fc3", torch::nn::Linear(84, classes))) {}

at::Tensor LeNet::Forward(const at::Tensor& images) {
  // A learned transformation of the images wants their gradient.
  at::Tensor x = ThinConv2d(images, conv1_->weight, conv1_->bias, kPadding);
  x = at::max_pool2d(at::relu(x), {2, 2});
  x = at::max_pool2d(at::relu(conv2_->forward(x)), {2, 2});
  x = at::relu(fc1_->forward(x.flatten(1)));
  x = at::relu(fc2_->forward(x));
  return fc3_->forward(x);
}

void LeNet::Initialise(uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  for (const auto& layer : named_children()) {
    const at::Tensor weight = layer.value()->named_parameters()["weight"];
    const double bound = 1 / std::sqrt(static_cast<double>(weight[0].numel()));
    for (const char* name : {"weight", "bias"}) {
      const at::Tensor target = layer.value()->named_parameters()[name];
      at::Tensor values = at::empty(target.sizes(), at::kDouble);
      target.copy_(values.uniform_(-bound, bound, generator));
    }
  }
}

}  // namespace evograd
