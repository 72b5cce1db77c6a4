#include "worker/engine/finite_difference_estimator.h"

#include <cmath>

#include "common/status_macros.h"
#include "worker/engine/layer_noise.h"
#include "worker/engine/passes.h"

namespace evograd {

absl::StatusOr<Estimate> FiniteDifferenceEstimator::Compute(const StepContext& context,
                                                            const BasePass* base) {
  FlatState& state = *parts_.state;
  EVOGRAD_RETURN_IF_ERROR(BindLookAhead(parts_, base_pass_, context, base));
  const at::Tensor& gradient = state.validation_gradient(/*gradient_must_last=*/base != nullptr);
  Estimate estimate;
  EVOGRAD_ASSIGN_OR_RETURN(estimate.validation_loss,
                           ValidationPass(parts_, base_pass_, context, gradient));
  const double norm = std::sqrt(state.kernels().PerturbedSquaredNorm(gradient));
  // Where the validation loss is flat nothing depends on lambda through theta.
  const double radius = norm > 0 ? parts_.spec.estimator().difference_radius() / norm : 0;
  EVOGRAD_ASSIGN_OR_RETURN(const Batch batch, PrepareMembers(parts_, context));
  DoubleSum sum(context.exchange, /*leaves=*/2, context.lambda.numel());
  for (int leaf = sum.slice().first; leaf < sum.slice().last; ++leaf) {
    const double side = leaf == 0 ? 1 : -1;
    EVOGRAD_ASSIGN_OR_RETURN(std::vector<double> values,
                             GradientAt(context, batch, side * radius, gradient));
    for (double& value : values) value *= side;
    EVOGRAD_RETURN_IF_ERROR(sum.Add(values));
  }
  EVOGRAD_ASSIGN_OR_RETURN(estimate.hypergradient, sum.AllReduce());
  const double factor = radius > 0 ? -InnerLearningRate(parts_, context.step) / (2 * radius) : 0;
  for (double& value : estimate.hypergradient) value *= factor;
  return estimate;
}

absl::StatusOr<std::vector<double>> FiniteDifferenceEstimator::GradientAt(
    const StepContext& context, const Batch& batch, double distance, const at::Tensor& direction) {
  EVOGRAD_RETURN_IF_ERROR(parts_.CheckCancelled());
  FlatState& state = *parts_.state;
  EVOGRAD_RETURN_IF_ERROR(state.WriteBase());
  EVOGRAD_RETURN_IF_ERROR(state.kernels().AddPerturbed(distance, direction, state.working()));
  const LayerNoise noise(state.device(), BaseLayerSeed(parts_, context.step, 0));
  absl::StatusOr<LossAndGradient> result = parts_.problem->MemberGradient(batch, context.lambda);
  if (!result.ok()) {
    return Located(parts_, context.step, distance > 0 ? "the point ahead" : "the point behind",
                   result.status());
  }
  return ToDoubles(result->hypergradient);
}

}  // namespace evograd
