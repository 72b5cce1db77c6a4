// The mixed second derivative of T1T2 by a central difference of first-order gradients (H. Liu,
// K. Simonyan, Y. Yang, "DARTS", ICLR 2019, eq. 8):
//
//   theta' = theta - lr d l_T / d theta        g_V = d l_V / d theta at theta'
//   r = difference_radius / |g_V|              theta_+- = theta +- r g_V
//   d l_V / d lambda = -lr (d l_T / d lambda at theta_+  -  the same at theta_-) / (2 r)
//
// Both gradients see the same layer noise. Where members differ in a part of theta alone, so do the
// two points, and |g_V| is that part's.
#ifndef EVOGRAD_WORKER_ENGINE_FINITE_DIFFERENCE_ESTIMATOR_H_
#define EVOGRAD_WORKER_ENGINE_FINITE_DIFFERENCE_ESTIMATOR_H_

#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/estimator.h"

namespace evograd {

class FiniteDifferenceEstimator : public Estimator {
 public:
  FiniteDifferenceEstimator(EngineParts* parts, BasePassRunner* base_pass)
      : parts_(*parts), base_pass_(*base_pass) {}

  // With the base step first, its gradient makes the look-ahead point too.
  bool shares_base_pass() const override { return parts_.base_first; }
  absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass* base) override;

 private:
  // d l_T / d lambda at theta + distance * direction.
  absl::StatusOr<std::vector<double>> GradientAt(const StepContext& context, const Batch& batch,
                                                 double distance, const at::Tensor& direction);

  EngineParts& parts_;
  BasePassRunner& base_pass_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_FINITE_DIFFERENCE_ESTIMATOR_H_
