// What the CPU and CUDA kernels share. The standard library only: CUDA sources include it.
#ifndef EVOGRAD_WORKER_KERNELS_KERNEL_TYPES_H_
#define EVOGRAD_WORKER_KERNELS_KERNEL_TYPES_H_

#include <cstdint>

#include "algo/noise.h"

namespace evograd {

// Where a kernel runs. On CUDA it is queued on `stream` (a cudaStream_t; null: the default stream)
// of device `device`; on the CPU it has ended when the call returns.
struct KernelDevice {
  bool cuda = false;
  int device = 0;
  void* stream = nullptr;
};

// Elements first .. first + count - 1 of the flat buffers. Pointers given along with a range are to
// element 0 of the buffer, not of the range.
struct ElementRange {
  int64_t first = 0;
  int64_t count = 0;
};

namespace kernels_internal {

// coefficient * epsilon(key).
template <typename T>
struct NoiseTerm {
  NoiseKey key;
  T coefficient;
};

// Terms of one kernel launch: they fit its 4 KiB of arguments.
inline constexpr int kMaxTerms = 64;

// Dots are summed in blocks of this many elements, aligned to their numbers; within a block in
// kNoiseGroup lanes (element i in lane i % kNoiseGroup, in ascending order); lanes and blocks along
// binary trees.
inline constexpr int kDotBlock = 4096;

}  // namespace kernels_internal
}  // namespace evograd

#endif  // EVOGRAD_WORKER_KERNELS_KERNEL_TYPES_H_
