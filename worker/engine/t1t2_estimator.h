// Exact second order through one SGD step (J. Luketina et al., "Scalable gradient-based tuning of
// continuous regularization hyperparameters", ICML 2016), factorised:
//
//   theta' = theta - lr d l_T / d theta        g_V = d l_V / d theta at theta'
//   d l_V / d lambda = -lr d/d lambda <d l_T / d theta, g_V>
#ifndef EVOGRAD_WORKER_ENGINE_T1T2_ESTIMATOR_H_
#define EVOGRAD_WORKER_ENGINE_T1T2_ESTIMATOR_H_

#include "absl/status/statusor.h"
#include "worker/engine/estimator.h"

namespace evograd {

class T1t2Estimator : public Estimator {
 public:
  T1t2Estimator(EngineParts* parts, BasePassRunner* base_pass)
      : parts_(*parts), base_pass_(*base_pass) {}

  absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass* base) override;

 private:
  EngineParts& parts_;
  BasePassRunner& base_pass_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_T1T2_ESTIMATOR_H_
