#include "worker/engine/t1t2_estimator.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/engine/layer_noise.h"

namespace evograd {

absl::StatusOr<Estimate> T1t2Estimator::Compute(const StepContext& context, const BasePass*) {
  EVOGRAD_RETURN_IF_ERROR(base_pass_.Run(context, /*with_hypergradient=*/false).status());
  EVOGRAD_RETURN_IF_ERROR(
      parts_.state->WriteLookAhead(parts_.spec.estimator().inner_learning_rate()));
  Estimate estimate;
  EVOGRAD_ASSIGN_OR_RETURN(estimate.validation_loss, ValidationAtLookAhead(context));
  EVOGRAD_ASSIGN_OR_RETURN(estimate.hypergradient, CrossGradient(context));
  return estimate;
}

absl::StatusOr<double> T1t2Estimator::ValidationAtLookAhead(const StepContext& context) {
  FlatState& state = *parts_.state;
  if (ShardsAreReplicated(parts_)) return ValidationShard(parts_, context, 0, state.gradient());
  // Sums the buffers behind the gradient along with it, to which nothing happens here.
  TreeAccumulator& gradients = base_pass_.Sum(*context.exchange);
  DoubleSum losses(context.exchange, parts_.shards(), 1);
  for (int shard = losses.slice().first; shard < losses.slice().last; ++shard) {
    EVOGRAD_ASSIGN_OR_RETURN(const double loss,
                             ValidationShard(parts_, context, shard, state.gradient()));
    EVOGRAD_RETURN_IF_ERROR(losses.Add({loss}));
    EVOGRAD_RETURN_IF_ERROR(gradients.Add(state.update().const_data_ptr()));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<double> loss, losses.AllReduce());
  EVOGRAD_RETURN_IF_ERROR(
      gradients.AllReduce(context.exchange->communicator(), state.update().mutable_data_ptr()));
  EVOGRAD_RETURN_IF_ERROR(state.kernels().Scale(1.0 / parts_.shards(), state.gradient()));
  return loss[0] / parts_.shards();
}

absl::StatusOr<std::vector<double>> T1t2Estimator::CrossGradient(const StepContext& context) {
  FlatState& state = *parts_.state;
  EVOGRAD_RETURN_IF_ERROR(state.WriteBase());
  DoubleSum sum(context.exchange, parts_.shards(), context.lambda.numel(),
                ShardsAreReplicated(parts_));
  for (int shard = sum.slice().first; shard < sum.slice().last; ++shard) {
    EVOGRAD_RETURN_IF_ERROR(parts_.CheckCancelled());
    EVOGRAD_ASSIGN_OR_RETURN(const Batch batch, ShardOf(parts_, context.train, shard));
    state.RestoreBuffers();
    absl::StatusOr<at::Tensor> gradient;
    {
      // That of the base pass: both differentiate the same loss.
      const LayerNoise noise(state.device(), BaseLayerSeed(parts_, context.step, shard));
      gradient = parts_.problem->CrossGradient(batch, context.lambda, state.gradient());
    }
    if (!gradient.ok()) {
      return Located(parts_, context.step, absl::StrCat("second order, shard ", shard),
                     gradient.status());
    }
    EVOGRAD_RETURN_IF_ERROR(sum.Add(ToDoubles(*gradient)));
  }
  EVOGRAD_ASSIGN_OR_RETURN(std::vector<double> total, sum.AllReduce());
  const double factor = -parts_.spec.estimator().inner_learning_rate() / parts_.shards();
  for (double& value : total) value *= factor;
  return total;
}

}  // namespace evograd
