// The fused kernels (worker/kernels/kernels.h) over whole flat tensors: picks the element type and
// the device, and leaves the unperturbed part of theta as it is.
//
// Tensors are flat, contiguous, of the type and on the device given at construction. The
// perturbation runs over runs of neighbouring perturbed tensors, padding between them included:
// nobody reads the padding of a member, and a gradient's padding is zero.
//
// Threads: one. Errors: those of the kernels.
#ifndef EVOGRAD_WORKER_ENGINE_FLAT_KERNELS_H_
#define EVOGRAD_WORKER_ENGINE_FLAT_KERNELS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "algo/noise.h"
#include "algo/optimizer.h"
#include "worker/kernels/kernels.h"
#include "worker/problems/problem.h"

namespace evograd {

class FlatKernels {
 public:
  FlatKernels(const ParameterLayout& layout, at::ScalarType type, const at::Device& device);

  // `member` may be the base point (scale 0).
  absl::Status Perturb(const Perturbation& perturbation, const MemberNoise& member,
                       const at::Tensor& base, const at::Tensor& out) const;
  absl::Status Recombine(const Perturbation& perturbation, absl::Span<const MemberNoise> members,
                         absl::Span<const double> weights, const at::Tensor& base,
                         const at::Tensor& out) const;
  // scale_k <x, epsilon_k> for all members.
  absl::StatusOr<std::vector<double>> NoiseDots(NoiseKind kind,
                                                absl::Span<const MemberNoise> members,
                                                const at::Tensor& x) const;

  absl::Status OptimizerStep(const OptimizerConfig& config, int64_t completed_steps,
                             const at::Tensor& gradient, const at::Tensor& theta,
                             const std::vector<at::Tensor>& slots) const;
  absl::Status Scale(double factor, const at::Tensor& x) const;
  // out = a + factor * b
  absl::Status ScaledAdd(double factor, const at::Tensor& a, const at::Tensor& b,
                         const at::Tensor& out) const;
  // theta += factor * direction, in the perturbed part alone.
  absl::Status AddPerturbed(double factor, const at::Tensor& direction,
                            const at::Tensor& theta) const;
  // The sum of squares of all elements, or of the perturbed part's. Waits for the stream; throws
  // what LibTorch throws.
  double SquaredNorm(const at::Tensor& x) const;
  double PerturbedSquaredNorm(const at::Tensor& x) const;
  // Elements of the perturbed part, padding left out.
  int64_t perturbed_elements() const { return perturbed_elements_; }
  // -1 where all are finite.
  absl::StatusOr<int64_t> FirstNonFinite(const at::Tensor& x) const;

  const KernelDevice& device() const { return device_; }

 private:
  const at::ScalarType type_;
  KernelDevice device_;
  int64_t perturbed_elements_ = 0;
  std::vector<ElementRange> perturbed_;
  std::vector<ElementRange> unperturbed_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_FLAT_KERNELS_H_
