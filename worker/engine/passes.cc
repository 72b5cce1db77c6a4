#include "worker/engine/passes.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "algo/optimizer.h"
#include "common/status_macros.h"
#include "spec/optimizer.h"
#include "worker/engine/layer_noise.h"

namespace evograd {
namespace {

// Computes one shard's part of a flat vector, in place, and a number that goes with it.
using ShardFunction = std::function<absl::StatusOr<double>(int shard)>;

// The mean over the shards of `flat`, into which `compute` writes each shard's, and of the numbers.
absl::StatusOr<double> MeanOverShards(EngineParts& parts, BasePassRunner& base_pass,
                                      const StepContext& context, const at::Tensor& flat,
                                      const ShardFunction& compute) {
  if (ShardsAreReplicated(parts)) return compute(0);
  // Laid out like the state's update: sums the buffers behind a gradient along with it, to which
  // nothing happens here.
  TreeAccumulator& sums = base_pass.Sum(*context.exchange);
  DoubleSum numbers(context.exchange, parts.shards(), 1);
  for (int shard = numbers.slice().first; shard < numbers.slice().last; ++shard) {
    EVOGRAD_ASSIGN_OR_RETURN(const double number, compute(shard));
    EVOGRAD_RETURN_IF_ERROR(numbers.Add({number}));
    EVOGRAD_RETURN_IF_ERROR(sums.Add(flat.const_data_ptr()));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<double> total, numbers.AllReduce());
  EVOGRAD_RETURN_IF_ERROR(
      sums.AllReduce(context.exchange->communicator(), flat.mutable_data_ptr()));
  EVOGRAD_RETURN_IF_ERROR(parts.state->kernels().Scale(1.0 / parts.shards(), flat));
  return total[0] / parts.shards();
}

}  // namespace

double InnerLearningRate(const EngineParts& parts, int64_t step) {
  return parts.spec.estimator().inner_learning_rate() *
         ScheduleFactor(ToOptimizerConfig(parts.spec.base_optimizer()).schedule, step);
}

absl::Status BindLookAhead(EngineParts& parts, BasePassRunner& base_pass,
                           const StepContext& context, const BasePass* base) {
  if (base == nullptr) {
    EVOGRAD_RETURN_IF_ERROR(base_pass.Run(context, /*with_hypergradient=*/false).status());
  }
  return parts.state->WriteLookAhead(InnerLearningRate(parts, context.step));
}

absl::StatusOr<Batch> PrepareMembers(EngineParts& parts, const StepContext& context) {
  EVOGRAD_RETURN_IF_ERROR(parts.state->WriteBase());
  const LayerNoise noise(parts.state->device(), BaseLayerSeed(parts, context.step, 0));
  absl::StatusOr<Batch> batch = parts.problem->PrepareMembers(context.train, context.lambda);
  if (!batch.ok()) return Located(parts, context.step, "base point", batch.status());
  return batch;
}

absl::StatusOr<double> ValidationShard(EngineParts& parts, const StepContext& context, int shard,
                                       const at::Tensor& gradient) {
  EVOGRAD_RETURN_IF_ERROR(parts.CheckCancelled());
  EVOGRAD_ASSIGN_OR_RETURN(const Batch batch, ShardOf(parts, context.validation, shard));
  parts.state->RestoreBuffers();
  absl::StatusOr<double> loss;
  {
    const LayerNoise noise(parts.state->device(), ValidationLayerSeed(parts, context.step, shard));
    loss = parts.problem->ValidationGradient(batch, gradient);
  }
  absl::Status status = loss.status();
  if (status.ok()) status = parts.state->CheckFinite(gradient, "the validation gradient");
  if (!status.ok()) {
    return Located(parts, context.step, absl::StrCat("validation, shard ", shard), status);
  }
  return loss;
}

absl::StatusOr<double> ValidationPass(EngineParts& parts, BasePassRunner& base_pass,
                                      const StepContext& context, const at::Tensor& gradient) {
  EVOGRAD_ASSIGN_OR_RETURN(const double loss,
                           MeanOverShards(parts, base_pass, context, gradient, [&](int shard) {
                             return ValidationShard(parts, context, shard, gradient);
                           }));
  if (parts.trace != nullptr) parts.trace->validation_gradient = gradient.clone();
  return loss;
}

absl::StatusOr<std::vector<double>> CrossGradientPass(EngineParts& parts,
                                                      const StepContext& context,
                                                      const at::Tensor& direction) {
  FlatState& state = *parts.state;
  EVOGRAD_RETURN_IF_ERROR(state.WriteBase());
  DoubleSum sum(context.exchange, parts.shards(), context.lambda.numel(),
                ShardsAreReplicated(parts));
  for (int shard = sum.slice().first; shard < sum.slice().last; ++shard) {
    EVOGRAD_RETURN_IF_ERROR(parts.CheckCancelled());
    EVOGRAD_ASSIGN_OR_RETURN(const Batch batch, ShardOf(parts, context.train, shard));
    state.RestoreBuffers();
    absl::StatusOr<at::Tensor> gradient;
    {
      // That of the base pass: both differentiate the same loss.
      const LayerNoise noise(state.device(), BaseLayerSeed(parts, context.step, shard));
      gradient = parts.problem->CrossGradient(batch, context.lambda, direction);
    }
    if (!gradient.ok()) {
      return Located(parts, context.step, absl::StrCat("second order, shard ", shard),
                     gradient.status());
    }
    EVOGRAD_RETURN_IF_ERROR(sum.Add(ToDoubles(*gradient)));
  }
  EVOGRAD_ASSIGN_OR_RETURN(std::vector<double> total, sum.AllReduce());
  for (double& value : total) value /= parts.shards();
  return total;
}

absl::Status HessianVectorPass(EngineParts& parts, BasePassRunner& base_pass,
                               const StepContext& context, const at::Tensor& direction,
                               const at::Tensor& product) {
  FlatState& state = *parts.state;
  EVOGRAD_RETURN_IF_ERROR(state.WriteBase());
  const auto compute = [&](int shard) -> absl::StatusOr<double> {
    EVOGRAD_RETURN_IF_ERROR(parts.CheckCancelled());
    EVOGRAD_ASSIGN_OR_RETURN(const Batch batch, ShardOf(parts, context.train, shard));
    state.RestoreBuffers();
    const LayerNoise noise(state.device(), BaseLayerSeed(parts, context.step, shard));
    EVOGRAD_RETURN_IF_ERROR(
        parts.problem->HessianVector(batch, context.lambda, direction, product));
    return 0.0;
  };
  absl::Status status = MeanOverShards(parts, base_pass, context, product, compute).status();
  if (status.ok()) status = state.CheckFinite(product, "the Hessian times a vector");
  return Located(parts, context.step, "second order", status);
}

}  // namespace evograd
