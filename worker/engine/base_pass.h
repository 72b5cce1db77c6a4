// The base step's forward and backward: sharded over the ranks, summed along the tree.
#ifndef EVOGRAD_WORKER_ENGINE_BASE_PASS_H_
#define EVOGRAD_WORKER_ENGINE_BASE_PASS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/step_context.h"

namespace evograd {

struct BasePass {
  double loss = 0;
  // d loss / d lambda, where it was asked for.
  std::vector<double> hypergradient;
};

// Keeps what its sums need from step to step.
class BasePassRunner {
 public:
  explicit BasePassRunner(EngineParts* parts);

  // l_T at the base point, its gradient in `state.gradient()` and the buffers after it in
  // `state.next_buffers()`, each the mean over the shards. Collective where there are several.
  // OUT_OF_RANGE names the tensor whose gradient is not finite.
  absl::StatusOr<BasePass> Run(const StepContext& context, bool with_hypergradient);

  // A sum over the shards of this group for vectors laid out like the beginning of the state's
  // update; empty, and in memory that the next Run uses too.
  TreeAccumulator& Sum(const Exchange& exchange);

 private:
  // l_T and, where asked for, d l_T / d lambda of one shard; the rest goes to the state's update.
  absl::StatusOr<std::vector<double>> RunShard(const StepContext& context, int shard,
                                               bool with_hypergradient);

  EngineParts& parts_;
  TensorVectorOps ops_;
  // Made anew when the group's shape changes.
  std::unique_ptr<TreeAccumulator> sum_;
  int rank_ = -1;
  int size_ = -1;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_BASE_PASS_H_
