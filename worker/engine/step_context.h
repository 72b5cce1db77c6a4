// What the phases of a step work with.
#ifndef EVOGRAD_WORKER_ENGINE_STEP_CONTEXT_H_
#define EVOGRAD_WORKER_ENGINE_STEP_CONTEXT_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/engine/exchange.h"
#include "worker/engine/flat_state.h"
#include "worker/problems/problem.h"

namespace evograd {

// What a hypergradient was made of, for those who want to look: filled in as
// far as the estimator has such things.
struct EstimateTrace {
  std::vector<double> weights;       // [K]
  std::vector<double> projections;   // [K], s_k
  std::vector<double> coefficients;  // [K], c_k
  at::Tensor validation_gradient;    // g_V where the estimator took it, flat
};

// Lives as long as the engine.
struct EngineParts {
  v1::JobSpec spec;  // resolved
  std::unique_ptr<Problem> problem;
  std::unique_ptr<FlatState> state;
  const std::atomic<bool>* cancelled = nullptr;
  // Whether theta is updated before lambda within a step.
  bool base_first = false;
  // Null where nobody looks; it outlives the steps.
  EstimateTrace* trace = nullptr;

  int shards() const { return spec.virtual_workers(); }
  // CANCELLED once the flag is set.
  absl::Status CheckCancelled() const;
};

// Of one phase: the batches are those of the step, lambda that of the phase.
struct StepContext {
  int64_t step = 0;
  Exchange* exchange = nullptr;
  Batch train;
  Batch validation;
  at::Tensor lambda;  // [H], on the problem's device and of its type
  // When the step began, had it not been interrupted.
  absl::Time start;
};

// Seeds of layer noise: each use within a step draws its own.
uint64_t MemberLayerSeed(const EngineParts& parts, int64_t step, int member);
uint64_t BaseLayerSeed(const EngineParts& parts, int64_t step, int shard);
uint64_t ValidationLayerSeed(const EngineParts& parts, int64_t step, int shard);
uint64_t EvaluationLayerSeed(const EngineParts& parts, int64_t step);

// The shards that this rank computes: its slice; all of them where there is only one, so that
// nothing needs to be sent.
LeafRange ShardsOf(const EngineParts& parts, const Exchange& exchange);
// Whether every rank computes every shard.
inline bool ShardsAreReplicated(const EngineParts& parts) { return parts.shards() == 1; }
absl::StatusOr<Batch> ShardOf(const EngineParts& parts, const Batch& batch, int shard);

// `status` with "step 12: member 3: " before its message; says of OUT_OF_RANGE which tensor of the
// bound parameters is not finite, if any is.
absl::Status Located(const EngineParts& parts, int64_t step, const std::string& where,
                     const absl::Status& status);

// The host's copy of a gradient to lambda, in float64.
std::vector<double> ToDoubles(const at::Tensor& values);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_STEP_CONTEXT_H_
