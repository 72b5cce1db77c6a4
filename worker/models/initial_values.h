// Random initial values of a network's tensors, drawn in float64 on the CPU whatever the tensor's
// type and device, from one generator in the order of the calls.
//
//   InitialValues random(seed);
//   random.Normal(conv->weight, std::sqrt(2.0 / fan_in));
//   random.Uniform(linear->bias, 1 / std::sqrt(fan_in));
//
// Threads: one. Throws what LibTorch throws.
#ifndef EVOGRAD_WORKER_MODELS_INITIAL_VALUES_H_
#define EVOGRAD_WORKER_MODELS_INITIAL_VALUES_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace evograd {

class InitialValues {
 public:
  explicit InitialValues(uint64_t seed);

  // Of mean 0.
  void Normal(const at::Tensor& to, double deviation);
  // Over -bound to bound.
  void Uniform(const at::Tensor& to, double bound);

 private:
  at::Generator generator_;
};

// Inputs and outputs of one unit of a weight [out, in, ...], counting its window.
int64_t FanIn(const at::Tensor& weight);
int64_t FanOut(const at::Tensor& weight);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_INITIAL_VALUES_H_
