// Fused kernels over flat parameter buffers, on the CPU and on CUDA; T is float or double.
//
// The two give the same bits: each element is computed by the same IEEE operations in the same
// order, and the sums of NoiseDots and their order are fixed by the elements' numbers.
//
// Pointers are to element 0 of a flat buffer on the kernel's device; only the elements of `range`
// are read and written. An output may be one of the inputs, but not overlap it otherwise. Noise is
// algo/noise.h's, rounded to T.
//
// Threads: any, as long as no two touch the same elements. On CUDA calls return once queued, apart
// from those that return numbers; a defect of an earlier call on the device may be reported later.
//
// Errors: none on the CPU. On CUDA RESOURCE_EXHAUSTED (memory), FAILED_PRECONDITION (no such device
// or driver) and INTERNAL, naming CUDA's error. Sizes that do not fit are a programmer's error and
// end the process.
//
//   KernelDevice device;  // the CPU
//   MemberNoise member{{seed, step, k}, 1.0};
//   Perturb(device, {NoiseKind::kRademacher, sigma}, member, {0, elements}, base, working);
#ifndef EVOGRAD_WORKER_KERNELS_KERNELS_H_
#define EVOGRAD_WORKER_KERNELS_KERNELS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "algo/noise.h"
#include "algo/optimizer.h"
#include "worker/kernels/kernel_types.h"

namespace evograd {

struct Perturbation {
  NoiseKind kind = NoiseKind::kRademacher;
  double sigma = 0;  // in units of parameters
};

// out = base + (sigma * scale) * epsilon: the member parameters. A copy where scale is 0.
template <typename T>
absl::Status Perturb(const KernelDevice& device, const Perturbation& perturbation,
                     const MemberNoise& member, ElementRange range, const T* base, T* out);

// out = base + sigma * sum_k weights[k] * scale_k * epsilon_k: the recombined parameters. Members
// that share a key are joined, and the sum runs in the order of the keys' first members; after
// each 64 keys it is added to the output.
template <typename T>
absl::Status Recombine(const KernelDevice& device, const Perturbation& perturbation,
                       absl::Span<const MemberNoise> members, absl::Span<const double> weights,
                       ElementRange range, const T* base, T* out);

// dots[k] = scale_k * <x, epsilon_k>, products and sums in double; 0 where scale_k is 0. Waits for
// the stream. `dots` lies in host memory, as long as `members`.
template <typename T>
absl::Status NoiseDots(const KernelDevice& device, NoiseKind kind,
                       absl::Span<const MemberNoise> members, ElementRange range, const T* x,
                       absl::Span<double> dots);

// One step of the optimiser: theta, and its slots where the rule uses them (else null).
template <typename T>
absl::Status OptimizerStep(const KernelDevice& device, const OptimizerRule<T>& rule,
                           ElementRange range, const T* gradient, T* theta, T* first, T* second);

// out = a + b.
template <typename T>
absl::Status Add(const KernelDevice& device, ElementRange range, const T* a, const T* b, T* out);

// out = T(factor) * x.
template <typename T>
absl::Status Scale(const KernelDevice& device, double factor, ElementRange range, const T* x,
                   T* out);

// out = a + T(factor) * b. The look-ahead point is ScaledAdd(-learning_rate, base, gradient).
template <typename T>
absl::Status ScaledAdd(const KernelDevice& device, double factor, ElementRange range, const T* a,
                       const T* b, T* out);

// The number of the first element that is NaN or infinite; -1 where all are finite. Waits for the
// stream.
template <typename T>
absl::StatusOr<int64_t> FirstNonFinite(const KernelDevice& device, ElementRange range, const T* x);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_KERNELS_KERNELS_H_
