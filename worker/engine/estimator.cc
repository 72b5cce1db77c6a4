#include "worker/engine/estimator.h"

#include "worker/engine/evograd_estimator.h"
#include "worker/engine/finite_difference_estimator.h"
#include "worker/engine/implicit_estimator.h"
#include "worker/engine/t1t2_estimator.h"

namespace evograd {
namespace {

// Leaves the hyperparameters where they are.
class NoEstimator : public Estimator {
 public:
  absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass*) override {
    Estimate estimate;
    estimate.hypergradient.assign(context.lambda.numel(), 0);
    return estimate;
  }
};

}  // namespace

std::unique_ptr<Estimator> MakeEstimator(EngineParts* parts, BasePassRunner* base_pass) {
  switch (parts->spec.estimator().kind()) {
    case v1::Estimator::NONE:
      return std::make_unique<NoEstimator>();
    case v1::Estimator::T1T2:
      return std::make_unique<T1t2Estimator>(parts, base_pass);
    case v1::Estimator::FINITE_DIFFERENCE:
      return std::make_unique<FiniteDifferenceEstimator>(parts, base_pass);
    case v1::Estimator::NEUMANN:
    case v1::Estimator::CG:
      return std::make_unique<ImplicitEstimator>(parts, base_pass);
    default:
      return std::make_unique<EvogradEstimator>(parts, base_pass);
  }
}

}  // namespace evograd
