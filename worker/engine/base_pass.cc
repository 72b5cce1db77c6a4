#include "worker/engine/base_pass.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/engine/layer_noise.h"

namespace evograd {

BasePassRunner::BasePassRunner(EngineParts* parts)
    : parts_(*parts), ops_(parts->state->device(), parts->state->kernels().device()) {}

absl::StatusOr<std::vector<double>> BasePassRunner::RunShard(const StepContext& context, int shard,
                                                             bool with_hypergradient) {
  EVOGRAD_RETURN_IF_ERROR(parts_.CheckCancelled());
  FlatState& state = *parts_.state;
  EVOGRAD_ASSIGN_OR_RETURN(const Batch batch, ShardOf(parts_, context.train, shard));
  state.RestoreBuffers();
  absl::StatusOr<LossAndGradient> result;
  {
    const LayerNoise noise(state.device(), BaseLayerSeed(parts_, context.step, shard));
    result =
        parts_.problem->TrainGradient(batch, context.lambda, state.gradient(), with_hypergradient);
  }
  if (!result.ok()) {
    return Located(parts_, context.step, absl::StrCat("base step, shard ", shard), result.status());
  }
  if (state.buffers.numel() > 0) state.next_buffers().copy_(state.working_buffers());
  std::vector<double> numbers = {result->loss};
  if (with_hypergradient) {
    const std::vector<double> gradient = ToDoubles(result->hypergradient);
    numbers.insert(numbers.end(), gradient.begin(), gradient.end());
  }
  return numbers;
}

TreeAccumulator& BasePassRunner::Sum(const Exchange& exchange) {
  if (sum_ == nullptr || rank_ != exchange.rank() || size_ != exchange.size()) {
    const FlatState& state = *parts_.state;
    rank_ = exchange.rank();
    size_ = exchange.size();
    sum_ = std::make_unique<TreeAccumulator>(
        &ops_, state.type() == at::kDouble ? ElementType::kFloat64 : ElementType::kFloat32,
        parts_.shards(), rank_, size_, state.update().numel());
  }
  sum_->Clear();
  return *sum_;
}

absl::StatusOr<BasePass> BasePassRunner::Run(const StepContext& context, bool with_hypergradient) {
  FlatState& state = *parts_.state;
  const LeafRange shards = ShardsOf(parts_, *context.exchange);
  const size_t hyperparameters = with_hypergradient ? context.lambda.numel() : 0;
  std::vector<double> numbers;
  EVOGRAD_RETURN_IF_ERROR(state.WriteBase());
  if (ShardsAreReplicated(parts_)) {
    EVOGRAD_ASSIGN_OR_RETURN(numbers, RunShard(context, 0, with_hypergradient));
  } else {
    TreeAccumulator& updates = Sum(*context.exchange);
    DoubleSum sum(context.exchange, parts_.shards(), 1 + hyperparameters);
    for (int shard = shards.first; shard < shards.last; ++shard) {
      EVOGRAD_ASSIGN_OR_RETURN(const std::vector<double> leaf,
                               RunShard(context, shard, with_hypergradient));
      EVOGRAD_RETURN_IF_ERROR(sum.Add(leaf));
      EVOGRAD_RETURN_IF_ERROR(updates.Add(state.update().const_data_ptr()));
    }
    EVOGRAD_ASSIGN_OR_RETURN(numbers, sum.AllReduce());
    EVOGRAD_RETURN_IF_ERROR(
        updates.AllReduce(context.exchange->communicator(), state.update().mutable_data_ptr()));
    // Exact: the number of shards is a power of two.
    EVOGRAD_RETURN_IF_ERROR(state.kernels().Scale(1.0 / parts_.shards(), state.update()));
    for (double& number : numbers) number /= parts_.shards();
  }
  const absl::Status finite = state.CheckFinite(state.gradient(), "the training gradient");
  if (!finite.ok()) return Located(parts_, context.step, "base step", finite);
  BasePass pass;
  pass.loss = numbers[0];
  pass.hypergradient.assign(numbers.begin() + 1, numbers.end());
  return pass;
}

}  // namespace evograd
