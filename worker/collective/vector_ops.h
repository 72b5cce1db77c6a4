// The few things that the tree all-reduce does with memory, so that it runs on a CPU and on CUDA
// alike and knows neither LibTorch nor CUDA.
//
// An implementation works in one order (a CPU thread, or one CUDA stream: the one that the
// communicator uses); it need not have finished when a call returns. Errors: RESOURCE_EXHAUSTED
// when there is no memory, INTERNAL when the device failed. Threads: one at a time.
#ifndef EVOGRAD_WORKER_COLLECTIVE_VECTOR_OPS_H_
#define EVOGRAD_WORKER_COLLECTIVE_VECTOR_OPS_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

enum class ElementType { kFloat32, kFloat64 };

inline size_t BytesOf(ElementType type) { return type == ElementType::kFloat32 ? 4 : 8; }

class VectorOps {
 public:
  virtual ~VectorOps() = default;

  // `bytes` zeroes, aligned for any vector instruction, freed with the last owner.
  virtual absl::StatusOr<std::shared_ptr<void>> Allocate(size_t bytes) = 0;

  // into[i] += from[i], each sum rounded once to the element type.
  virtual absl::Status Add(void* into, const void* from, size_t count, ElementType type) = 0;

  // The ranges do not overlap.
  virtual absl::Status Copy(void* to, const void* from, size_t bytes) = 0;
};

// Host memory. Lives as long as the process; any thread.
VectorOps& HostVectorOps();

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_VECTOR_OPS_H_
