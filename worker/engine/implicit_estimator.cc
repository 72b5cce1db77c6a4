#include "worker/engine/implicit_estimator.h"

#include <ATen/Functions.h>

#include "common/status_macros.h"
#include "worker/engine/passes.h"

namespace evograd {

absl::StatusOr<Estimate> ImplicitEstimator::Compute(const StepContext& context, const BasePass*) {
  FlatState& state = *parts_.state;
  if (!right_.defined()) {
    right_ = state.NewGradient();
    x_ = state.NewGradient();
    product_ = state.NewGradient();
  }
  EVOGRAD_RETURN_IF_ERROR(state.WriteBase());
  Estimate estimate;
  EVOGRAD_ASSIGN_OR_RETURN(estimate.validation_loss,
                           ValidationPass(parts_, base_pass_, context, right_));
  EVOGRAD_RETURN_IF_ERROR(parts_.spec.estimator().kind() == v1::Estimator::CG
                              ? SolveByConjugateGradients(context, right_, x_)
                              : SolveByNeumann(context, right_, x_));
  EVOGRAD_RETURN_IF_ERROR(
      Located(parts_, context.step, "implicit differentiation",
              state.CheckFinite(x_, "the inverse Hessian times the validation gradient")));
  EVOGRAD_ASSIGN_OR_RETURN(estimate.hypergradient, CrossGradientPass(parts_, context, x_));
  for (double& value : estimate.hypergradient) value = -value;
  return estimate;
}

absl::Status ImplicitEstimator::Multiply(const StepContext& context, const at::Tensor& direction) {
  EVOGRAD_RETURN_IF_ERROR(HessianVectorPass(parts_, base_pass_, context, direction, product_));
  product_.add_(direction, parts_.spec.estimator().damping());
  return absl::OkStatus();
}

absl::Status ImplicitEstimator::SolveByNeumann(const StepContext& context, const at::Tensor& right,
                                               const at::Tensor& x) {
  const double rate = InnerLearningRate(parts_, context.step);
  x.copy_(right);
  for (int i = 0; i < parts_.spec.estimator().iterations(); ++i) {
    EVOGRAD_RETURN_IF_ERROR(Multiply(context, right));
    right.sub_(product_, rate);
    x.add_(right);
  }
  x.mul_(rate);
  return absl::OkStatus();
}

absl::Status ImplicitEstimator::SolveByConjugateGradients(const StepContext& context,
                                                          const at::Tensor& right,
                                                          const at::Tensor& x) {
  x.zero_();
  const at::Tensor direction = right.clone();
  double residual = right.dot(right).item<double>();
  for (int i = 0; i < parts_.spec.estimator().iterations() && residual > 0; ++i) {
    EVOGRAD_RETURN_IF_ERROR(Multiply(context, direction));
    const double curvature = direction.dot(product_).item<double>();
    if (!(curvature > 0)) break;
    const double step = residual / curvature;
    x.add_(direction, step);
    right.sub_(product_, step);
    const double next = right.dot(right).item<double>();
    direction.mul_(next / residual).add_(right);
    residual = next;
  }
  return absl::OkStatus();
}

}  // namespace evograd
