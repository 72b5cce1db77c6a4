// Passes over a step's shards that several estimators make, each the mean over all shards, dealt to
// the ranks and summed along the tree. All bind what they need themselves unless they say
// otherwise.
//
// Threads: one. Errors: the problem's, located; the communicator's.
#ifndef EVOGRAD_WORKER_ENGINE_PASSES_H_
#define EVOGRAD_WORKER_ENGINE_PASSES_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/engine/base_pass.h"
#include "worker/engine/step_context.h"

namespace evograd {

// The learning rate of the inner SGD step at a step: the job's, times the base optimiser's
// schedule.
double InnerLearningRate(const EngineParts& parts, int64_t step);

// Binds the look-ahead point theta - lr d l_T / d theta. The training gradient is that of `base`,
// a pass of this step that left it in the state's gradient; where it is null, one is run.
absl::Status BindLookAhead(EngineParts& parts, BasePassRunner& base_pass,
                           const StepContext& context, const BasePass* base);

// The batch that members take (Problem::PrepareMembers); binds the base point.
absl::StatusOr<Batch> PrepareMembers(EngineParts& parts, const StepContext& context);

// l_V and, in `gradient`, d l_V / d theta of one shard at the parameters that are bound.
absl::StatusOr<double> ValidationShard(EngineParts& parts, const StepContext& context, int shard,
                                       const at::Tensor& gradient);

// l_V and g_V of all shards at the parameters that are bound. `gradient` is the state's gradient,
// its validation gradient or a NewGradient.
absl::StatusOr<double> ValidationPass(EngineParts& parts, BasePassRunner& base_pass,
                                      const StepContext& context, const at::Tensor& gradient);

// d/d lambda of <d l_T / d theta, direction> at the base point, shape [H].
absl::StatusOr<std::vector<double>> CrossGradientPass(EngineParts& parts,
                                                      const StepContext& context,
                                                      const at::Tensor& direction);

// (d^2 l_T / d theta^2) direction at the base point into `product`, a NewGradient.
absl::Status HessianVectorPass(EngineParts& parts, BasePassRunner& base_pass,
                               const StepContext& context, const at::Tensor& direction,
                               const at::Tensor& product);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_PASSES_H_
