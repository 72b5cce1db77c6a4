#include "worker/models/wide_resnet.h"

#include <ATen/Functions.h>

#include <cmath>
#include <string>

#include "worker/models/initial_values.h"

namespace evograd {
namespace {

constexpr int64_t kFirstChannels = 16;
constexpr int kGroups = 3;

torch::nn::Conv2d Conv(int64_t in, int64_t out, int64_t window, int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, window).stride(stride).padding(window / 2).bias(false));
}

}  // namespace

struct WideResNet::Block : torch::nn::Module {
  Block(int64_t in, int64_t out, int64_t stride, double dropout)
      : dropout(dropout),
        bn1(register_module("bn1", torch::nn::BatchNorm2d(in))),
        conv1(register_module("conv1", Conv(in, out, 3, stride))),
        bn2(register_module("bn2", torch::nn::BatchNorm2d(out))),
        conv2(register_module("conv2", Conv(out, out, 3, 1))) {
    if (in != out) shortcut = register_module("shortcut", Conv(in, out, 1, stride));
  }

  at::Tensor Forward(const at::Tensor& x) {
    const at::Tensor active = at::relu(bn1->forward(x));
    at::Tensor out = at::relu(bn2->forward(conv1->forward(active)));
    if (dropout > 0) out = at::dropout(out, dropout, is_training());
    out = conv2->forward(out);
    return out + (shortcut.is_empty() ? x : shortcut->forward(active));
  }

  const double dropout;
  torch::nn::BatchNorm2d bn1;
  torch::nn::Conv2d conv1;
  torch::nn::BatchNorm2d bn2;
  torch::nn::Conv2d conv2;
  torch::nn::Conv2d shortcut = nullptr;
};

WideResNet::WideResNet(const WideResNetOptions& options)
    : conv1_(register_module("conv1", Conv(options.channels, kFirstChannels, 3, 1))) {
  const int64_t blocks = (options.depth - 4) / (2 * kGroups);
  int64_t in = kFirstChannels;
  for (int group = 0; group < kGroups; ++group) {
    const int64_t out = kFirstChannels * options.width << group;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t stride = group > 0 && i == 0 ? 2 : 1;
      const std::string name = "block" + std::to_string(group + 1) + "_" + std::to_string(i);
      blocks_.push_back(
          register_module(name, std::make_shared<Block>(in, out, stride, options.dropout)));
      in = out;
    }
  }
  bn_ = register_module("bn", torch::nn::BatchNorm2d(in));
  linear_ = register_module("linear", torch::nn::Linear(in, options.classes));
}

WideResNet::~WideResNet() = default;

at::Tensor WideResNet::Forward(const at::Tensor& images) {
  // The layout in which a CPU convolves faster; it passes from layer to layer.
  at::Tensor x = conv1_->forward(images.contiguous(at::MemoryFormat::ChannelsLast));
  for (const std::shared_ptr<Block>& block : blocks_) x = block->Forward(x);
  x = at::relu(bn_->forward(x));
  return linear_->forward(x.mean({2, 3}));
}

void WideResNet::Initialise(uint64_t seed) {
  const at::NoGradGuard no_grad;
  InitialValues random(seed);
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2d>()) {
      random.Normal(conv->weight, std::sqrt(2.0 / FanOut(conv->weight)));
    } else if (auto* norm = module->as<torch::nn::BatchNorm2d>()) {
      norm->reset_running_stats();
      norm->weight.fill_(1);
      norm->bias.zero_();
    } else if (auto* linear = module->as<torch::nn::Linear>()) {
      random.Uniform(linear->weight, 1 / std::sqrt(static_cast<double>(FanIn(linear->weight))));
      linear->bias.zero_();
    }
  }
}

}  // namespace evograd
