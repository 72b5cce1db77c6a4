// What the bits of results depend on, of this process on one device: only workers of which it is
// equal give the same bits, so only they compute together.
//
//   *Numerics("cpu")  // "LibTorch 2.11.0, ATen AVX2, oneDNN AVX2, 1f2e3d4c"
//
// It ends in a digest of what the device computed just now from fixed numbers: machines whose
// kernels differ are told apart even where all names agree.
//
// Threads: any, one at a time; LibTorch's settings are as before when a call returns. Costs some
// tens of milliseconds, on a CUDA device after it has started.
#ifndef EVOGRAD_WORKER_ENGINE_NUMERICS_H_
#define EVOGRAD_WORKER_ENGINE_NUMERICS_H_

#include <string>

#include "absl/status/statusor.h"

namespace evograd {

// `device` is "cpu" or "cuda:N". Printable ASCII, at most 200 bytes. Where the device fails, which
// may pass (others use its memory now), RESOURCE_EXHAUSTED or INTERNAL.
absl::StatusOr<std::string> Numerics(const std::string& device);

// What CUDA's libraries read from the environment when they start, and results depend on: to be
// called before anything is computed on `device`.
void PrepareDevice(const std::string& device);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_NUMERICS_H_
