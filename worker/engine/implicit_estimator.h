// Implicit differentiation at the base point, taken for a minimum of the training loss:
//
//   g_V = d l_V / d theta        x ~ (H + damping I)^-1 g_V,  H = d^2 l_T / d theta^2
//   d l_V / d lambda = -d/d lambda <d l_T / d theta, x>
//
// NEUMANN: x = lr sum_{j=0}^{iterations} (I - lr (H + damping I))^j g_V (J. Lorraine, P. Vicol,
// D. Duvenaud, "Optimizing millions of hyperparameters by implicit differentiation", AISTATS 2020),
// lr the inner learning rate; without iterations this is T1T2 with g_V at the base point. CG:
// `iterations` steps of conjugate gradients from 0 (F. Pedregosa, "Hyperparameter optimization with
// approximate gradient", ICML 2016), fewer where the curvature along a step is not positive.
#ifndef EVOGRAD_WORKER_ENGINE_IMPLICIT_ESTIMATOR_H_
#define EVOGRAD_WORKER_ENGINE_IMPLICIT_ESTIMATOR_H_

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/engine/estimator.h"

namespace evograd {

class ImplicitEstimator : public Estimator {
 public:
  ImplicitEstimator(EngineParts* parts, BasePassRunner* base_pass)
      : parts_(*parts), base_pass_(*base_pass) {}

  absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass* base) override;

 private:
  // x from `right`, which is g_V before and scratch after.
  absl::Status SolveByNeumann(const StepContext& context, const at::Tensor& right,
                              const at::Tensor& x);
  absl::Status SolveByConjugateGradients(const StepContext& context, const at::Tensor& right,
                                         const at::Tensor& x);
  // (H + damping I) direction into `product_`.
  absl::Status Multiply(const StepContext& context, const at::Tensor& direction);

  EngineParts& parts_;
  BasePassRunner& base_pass_;
  // Flat; made at the first step.
  at::Tensor right_;
  at::Tensor x_;
  at::Tensor product_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_IMPLICIT_ESTIMATOR_H_
