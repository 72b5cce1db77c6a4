// Sums of vectors over the leaves of a reduction tree (members or shards) that are dealt to the
// ranks of a communicator: the same bits on every rank, and with any number of ranks
// (algo/reduction_tree.h).
//
//   TreeAccumulator gradient(&HostVectorOps(), ElementType::kFloat32, shards, rank, size,
//   parameters); for (int leaf = gradient.slice().first; leaf < gradient.slice().last; ++leaf) {
//     EVOGRAD_RETURN_IF_ERROR(gradient.Add(GradientOf(leaf)));
//   }
//   EVOGRAD_ASSIGN_OR_RETURN(const void* sum, gradient.AllReduce(communicator));
//
// Memory: a rank holds at most the nodes that cover its leaves, and as many again during the
// exchange: O(log leaves) vectors, one and one where slices are whole nodes (powers of two). They
// are kept for the next sum.
//
// Traffic: with one rank none. Otherwise each rank sums 1/size of the vector: AllToAll of the
// nodes' parts, AllGather of the sums; small vectors take a single AllGather instead.
//
// Threads: one at a time. Errors: those of the communicator and of `VectorOps`; after one call
// Clear().
#ifndef EVOGRAD_WORKER_COLLECTIVE_TREE_ALL_REDUCE_H_
#define EVOGRAD_WORKER_COLLECTIVE_TREE_ALL_REDUCE_H_

#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "algo/reduction_tree.h"
#include "common/status_macros.h"
#include "worker/collective/communicator.h"
#include "worker/collective/vector_ops.h"

namespace evograd {

class TreeAccumulator {
 public:
  // For vectors of `count` elements in the memory of `ops`, which outlives the accumulator.
  TreeAccumulator(VectorOps* ops, ElementType type, int leaves, int rank, int size, size_t count);

  // The leaves to add on this rank, and the one that is next; slice().last when all have been
  // added.
  LeafRange slice() const { return slice_; }
  int next_leaf() const { return next_leaf_; }

  // Adds leaf next_leaf(): `count` elements, which may change once the call has returned (on CUDA:
  // later in the order of the stream).
  absl::Status Add(const void* leaf);

  // The sum over all leaves of all ranks. Collective: every rank has added its whole slice. The
  // memory is the accumulator's and stays as it is until the next Add; the accumulator is empty
  // again. The communicator has the rank and size given above and works on the memory of `ops`;
  // with one rank it is not used.
  absl::StatusOr<const void*> AllReduce(Communicator& communicator);

  // The same, written to `result`.
  absl::Status AllReduce(Communicator& communicator, void* result);

  // Begins anew; keeps the memory.
  void Clear();

 private:
  using Buffer = std::shared_ptr<void>;
  struct Partial {
    TreeNode node;
    Buffer buffer;
  };

  absl::StatusOr<Buffer> TakeBuffer();
  size_t BytesFor(size_t elements) const { return elements * BytesOf(type_); }
  // Sums `values`, those of all ranks' nodes in order, into *values[0].
  absl::Status SumNodes(const std::vector<void*>& values, size_t count);
  // Both return where the sum lies; `result` may be null.
  absl::StatusOr<const void*> GatherAndSum(Communicator& communicator);
  absl::StatusOr<const void*> ScatterSumGather(Communicator& communicator, void* result);
  absl::StatusOr<const void*> Exchange(Communicator& communicator, void* result);

  VectorOps* const ops_;
  const ElementType type_;
  const int leaves_;
  const int rank_;
  const int size_;
  const size_t count_;
  // What one rank sums, in elements; size_ of them hold a vector.
  const size_t chunk_;
  const LeafRange slice_;
  int next_leaf_;

  // The covers of all ranks, and the size of the largest.
  std::vector<std::vector<TreeNode>> covers_;
  size_t most_nodes_ = 0;

  // The nodes of this rank so far, in order.
  std::vector<Partial> partials_;
  std::vector<Buffer> free_;
  // For GatherAndSum: the nodes of all ranks.
  Buffer gathered_;
  // Keeps alive what AllReduce returned.
  Buffer sum_;
};

// For few numbers in host memory: `values` holds the leaves of this rank's slice one after the
// other, `count` each.
template <typename T>
absl::Status TreeAllReduce(Communicator& communicator, int leaves, const T* values, size_t count,
                           T* result) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>, "float or double");
  TreeAccumulator sum(&HostVectorOps(),
                      std::is_same_v<T, float> ? ElementType::kFloat32 : ElementType::kFloat64,
                      leaves, communicator.rank(), communicator.size(), count);
  for (int i = 0; i < sum.slice().count(); ++i) {
    EVOGRAD_RETURN_IF_ERROR(sum.Add(values + i * count));
  }
  return sum.AllReduce(communicator, result);
}

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TREE_ALL_REDUCE_H_
