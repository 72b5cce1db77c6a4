#include "worker/engine/t1t2_estimator.h"

#include "common/status_macros.h"
#include "worker/engine/passes.h"

namespace evograd {

absl::StatusOr<Estimate> T1t2Estimator::Compute(const StepContext& context, const BasePass*) {
  EVOGRAD_RETURN_IF_ERROR(BindLookAhead(parts_, base_pass_, context, nullptr));
  const at::Tensor& gradient = parts_.state->gradient();
  Estimate estimate;
  EVOGRAD_ASSIGN_OR_RETURN(estimate.validation_loss,
                           ValidationPass(parts_, base_pass_, context, gradient));
  EVOGRAD_ASSIGN_OR_RETURN(estimate.hypergradient, CrossGradientPass(parts_, context, gradient));
  const double rate = InnerLearningRate(parts_, context.step);
  for (double& value : estimate.hypergradient) value *= -rate;
  return estimate;
}

}  // namespace evograd
