#include "worker/models/cifar_resnet.h"

#include <ATen/Functions.h>

#include <cmath>
#include <string>

#include "worker/models/initial_values.h"

namespace evograd {
namespace {

constexpr int64_t kFirstChannels = 16;
constexpr int kGroups = 3;

torch::nn::Conv2d Conv3x3(int64_t in, int64_t out, int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
}

}  // namespace

struct CifarResNet::Block : torch::nn::Module {
  Block(int64_t in, int64_t out, int64_t stride)
      : stride(stride),
        padding((out - in) / 2),
        conv1(register_module("conv1", Conv3x3(in, out, stride))),
        bn1(register_module("bn1", torch::nn::BatchNorm2d(out))),
        conv2(register_module("conv2", Conv3x3(out, out, 1))),
        bn2(register_module("bn2", torch::nn::BatchNorm2d(out))) {}

  at::Tensor Forward(const at::Tensor& x) {
    at::Tensor out = at::relu(bn1->forward(conv1->forward(x)));
    out = bn2->forward(conv2->forward(out));
    return at::relu(out + Shortcut(x));
  }

  at::Tensor Shortcut(const at::Tensor& x) const {
    if (stride == 1 && padding == 0) return x;
    const at::Tensor sampled = x.slice(2, 0, x.size(2), stride).slice(3, 0, x.size(3), stride);
    return at::constant_pad_nd(sampled, {0, 0, 0, 0, padding, padding});
  }

  const int64_t stride;
  const int64_t padding;
  torch::nn::Conv2d conv1;
  torch::nn::BatchNorm2d bn1;
  torch::nn::Conv2d conv2;
  torch::nn::BatchNorm2d bn2;
};

CifarResNet::CifarResNet(const CifarResNetOptions& options)
    : conv1_(
          register_module("conv1", Conv3x3(options.channels, kFirstChannels * options.width, 1))),
      bn1_(register_module("bn1", torch::nn::BatchNorm2d(kFirstChannels * options.width))) {
  const int64_t blocks = (options.depth - 2) / (2 * kGroups);
  int64_t in = kFirstChannels * options.width;
  for (int group = 0; group < kGroups; ++group) {
    const int64_t out = kFirstChannels * options.width << group;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t stride = group > 0 && i == 0 ? 2 : 1;
      const std::string name = "layer" + std::to_string(group + 1) + "_" + std::to_string(i);
      blocks_.push_back(register_module(name, std::make_shared<Block>(in, out, stride)));
      in = out;
    }
  }
  linear_ = register_module("linear", torch::nn::Linear(in, options.classes));
}

CifarResNet::~CifarResNet() = default;

at::Tensor CifarResNet::Forward(const at::Tensor& images) {
  // The layout in which a CPU convolves faster; it passes from layer to layer.
  at::Tensor x = images.contiguous(at::MemoryFormat::ChannelsLast);
  x = at::relu(bn1_->forward(conv1_->forward(x)));
  for (const std::shared_ptr<Block>& block : blocks_) x = block->Forward(x);
  return linear_->forward(x.mean({2, 3}));
}

void CifarResNet::Initialise(uint64_t seed) {
  const at::NoGradGuard no_grad;
  InitialValues random(seed);
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2d>()) {
      random.Normal(conv->weight, std::sqrt(2.0 / FanIn(conv->weight)));
    } else if (auto* norm = module->as<torch::nn::BatchNorm2d>()) {
      norm->reset_running_stats();
      norm->weight.fill_(1);
      norm->bias.zero_();
    } else if (auto* linear = module->as<torch::nn::Linear>()) {
      random.Normal(linear->weight, std::sqrt(2.0 / FanIn(linear->weight)));
      random.Uniform(linear->bias, 1 / std::sqrt(static_cast<double>(FanIn(linear->weight))));
    }
  }
}

}  // namespace evograd
