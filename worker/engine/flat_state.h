// Theta and what belongs to it, as flat tensors.
//
// *base* and *buffers* are the state; the problem's tensors are views of *working* and
// *working_buffers*, into which base, member, recombined or look-ahead parameters are written
// before a call. Every Write… also puts the base's buffers back, so that no call sees what another
// one did to them; RestoreBuffers does that alone, between calls at the same parameters.
//
// Threads: one. Errors: those of the kernels; the constructor throws what LibTorch throws.
#ifndef EVOGRAD_WORKER_ENGINE_FLAT_STATE_H_
#define EVOGRAD_WORKER_ENGINE_FLAT_STATE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/flat_kernels.h"
#include "worker/problems/problem.h"

namespace evograd {

class FlatState {
 public:
  // Binds `problem`, which outlives it.
  FlatState(Problem* problem, at::ScalarType type, const at::Device& device, int optimizer_slots);

  const FlatKernels& kernels() const { return kernels_; }
  const at::Device& device() const { return device_; }
  at::ScalarType type() const { return type_; }

  // The state: what is saved and sent. Tensors may be replaced by others of their size.
  at::Tensor base;
  at::Tensor buffers;
  std::vector<at::Tensor> slots;

  const at::Tensor& working() const { return working_; }
  const at::Tensor& working_buffers() const { return working_buffers_; }
  // Room for what the base update is made of: the gradient and the next buffers, one behind the
  // other.
  const at::Tensor& update() const { return update_; }
  const at::Tensor& gradient() const { return gradient_; }
  const at::Tensor& next_buffers() const { return next_buffers_; }
  // Room for g_V; `gradient()` itself unless that must last, which costs another buffer.
  const at::Tensor& validation_gradient(bool gradient_must_last);
  // A flat tensor like theta, zero, with as much storage behind it as `gradient()` has.
  at::Tensor NewGradient() const;

  absl::Status WriteBase();
  absl::Status WriteMember(const Perturbation& perturbation, const MemberNoise& member);
  absl::Status WriteRecombined(const Perturbation& perturbation,
                               absl::Span<const MemberNoise> members,
                               absl::Span<const double> weights);
  // base - learning_rate * gradient()
  absl::Status WriteLookAhead(double learning_rate);
  void RestoreBuffers();

  // Bytes of base, working, gradient and slots.
  int64_t bytes() const;

  // OUT_OF_RANGE, naming the tensor, when `flat` (laid out like theta) is not finite. `what` is its
  // name in a sentence.
  absl::Status CheckFinite(const at::Tensor& flat, const std::string& what) const;

 private:
  Problem* const problem_;
  const at::ScalarType type_;
  const at::Device device_;
  const FlatKernels kernels_;
  at::Tensor working_;
  at::Tensor working_buffers_;
  at::Tensor update_;
  at::Tensor gradient_;
  at::Tensor next_buffers_;
  at::Tensor validation_gradient_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_FLAT_STATE_H_
