// What the ranks of a group tell each other in a step, whether the communicator works on host or on
// device memory: numbers in host memory are staged through the device where it must be so.
//
// An Exchange belongs to one communicator and one engine. With one rank nothing moves.
//
// Threads: one. Errors: those of the communicator; FAILED_PRECONDITION when it works on another
// kind of memory than the engine.
#ifndef EVOGRAD_WORKER_ENGINE_EXCHANGE_H_
#define EVOGRAD_WORKER_ENGINE_EXCHANGE_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "algo/reduction_tree.h"
#include "worker/collective/communicator.h"
#include "worker/collective/tree_all_reduce.h"
#include "worker/collective/vector_ops.h"
#include "worker/kernels/kernels.h"

namespace evograd {

// Vectors in LibTorch's memory of one device; sums by the kernels.
class TensorVectorOps : public VectorOps {
 public:
  TensorVectorOps(const at::Device& device, const KernelDevice& kernel_device)
      : device_(device), kernel_device_(kernel_device) {}

  absl::StatusOr<std::shared_ptr<void>> Allocate(size_t bytes) override;
  absl::Status Add(void* into, const void* from, size_t count, ElementType type) override;
  absl::Status Copy(void* to, const void* from, size_t bytes) override;

 private:
  const at::Device device_;
  const KernelDevice kernel_device_;
};

class Exchange {
 public:
  static absl::StatusOr<std::unique_ptr<Exchange>> Create(Communicator* communicator,
                                                          const at::Device& device,
                                                          const KernelDevice& kernel_device);

  int rank() const { return communicator_->rank(); }
  int size() const { return communicator_->size(); }
  Communicator& communicator() { return *communicator_; }
  const at::Device& device() const { return device_; }
  // Of the engine's device.
  VectorOps* ops() { return &ops_; }

  // Each rank's numbers for the leaves of its slice, `count` of them per leaf, to everybody in the
  // order of the leaves.
  absl::StatusOr<std::vector<double>> AllGather(int leaves, const std::vector<double>& mine);

  // `root`'s numbers or bytes to everybody; sizes may differ before.
  absl::Status Broadcast(std::string* bytes, int root);
  // In place, in chunks; `tensor` is contiguous and on the engine's device.
  absl::Status Broadcast(const at::Tensor& tensor, int root);

 private:
  Exchange(Communicator* communicator, const at::Device& device, const KernelDevice& kernel_device)
      : communicator_(communicator), device_(device), ops_(device, kernel_device) {}

  absl::Status BroadcastHost(void* data, size_t bytes, int root);

  Communicator* const communicator_;
  const at::Device device_;
  TensorVectorOps ops_;
};

// A sum of vectors of doubles in host memory over the leaves of a tree, dealt to the ranks.
//
//   DoubleSum sum(&exchange, members, hyperparameters);
//   for (each leaf of sum.slice()) EVOGRAD_RETURN_IF_ERROR(sum.Add(values));
//   EVOGRAD_ASSIGN_OR_RETURN(std::vector<double> total, sum.AllReduce());
//
// With `replicated`, every rank adds every leaf itself and nothing moves.
class DoubleSum {
 public:
  DoubleSum(Exchange* exchange, int leaves, size_t count, bool replicated = false);

  LeafRange slice() const { return sum_.slice(); }
  absl::Status Add(const std::vector<double>& leaf);
  absl::StatusOr<std::vector<double>> AllReduce();

 private:
  Exchange* const exchange_;
  const size_t count_;
  const bool staged_;
  TreeAccumulator sum_;
  at::Tensor stage_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_EXCHANGE_H_
