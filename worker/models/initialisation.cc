#include "worker/models/initialisation.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <torch/nn/module.h>

#include <cmath>

namespace evograd {
namespace {

void Uniform(double bound, at::Generator generator, const at::Tensor& target) {
  target.copy_(at::empty(target.sizes(), at::kDouble).uniform_(-bound, bound, generator));
}

// The parameters of one layer itself, without those of its children.
void InitialiseLayer(at::Generator generator, torch::nn::Module* layer) {
  const auto parameters = layer->named_parameters(/*recurse=*/false);
  const at::Tensor* weight = parameters.find("weight");
  if (weight == nullptr) return;
  const at::Tensor* bias = parameters.find("bias");
  if (weight->dim() == 1) {
    weight->fill_(1);
    if (bias != nullptr) bias->zero_();
    for (const auto& buffer : layer->named_buffers(/*recurse=*/false)) {
      buffer.value().fill_(buffer.key() == "running_var" ? 1 : 0);
    }
    return;
  }
  const double bound = 1 / std::sqrt(static_cast<double>((*weight)[0].numel()));
  if (weight->dim() == 4) {
    const double fan_out = weight->numel() / weight->size(1);
    weight->copy_(
        at::empty(weight->sizes(), at::kDouble).normal_(0, std::sqrt(2 / fan_out), generator));
  } else {
    Uniform(bound, generator, *weight);
  }
  if (bias != nullptr && bias->defined()) Uniform(bound, generator, *bias);
}

}  // namespace

void InitialiseWeights(uint64_t seed, torch::nn::Module* module) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  module->apply([&](torch::nn::Module& layer) { InitialiseLayer(generator, &layer); });
}

}  // namespace evograd
