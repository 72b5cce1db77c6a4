#include "worker/models/initial_values.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

namespace evograd {

InitialValues::InitialValues(uint64_t seed)
    : generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}

void InitialValues::Normal(const at::Tensor& to, double deviation) {
  const at::NoGradGuard no_grad;
  to.copy_(at::empty(to.sizes(), at::kDouble).normal_(0, deviation, generator_));
}

void InitialValues::Uniform(const at::Tensor& to, double bound) {
  const at::NoGradGuard no_grad;
  to.copy_(at::empty(to.sizes(), at::kDouble).uniform_(-bound, bound, generator_));
}

int64_t FanIn(const at::Tensor& weight) { return weight.numel() / weight.size(0); }

int64_t FanOut(const at::Tensor& weight) { return weight.numel() / weight.size(1); }

}  // namespace evograd
