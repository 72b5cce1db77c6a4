#include "spec/estimator.h"

namespace evograd {

bool HasMembers(const v1::Estimator& estimator) {
  switch (estimator.kind()) {
    case v1::Estimator::NONE:
    case v1::Estimator::T1T2:
    case v1::Estimator::FINITE_DIFFERENCE:
    case v1::Estimator::NEUMANN:
    case v1::Estimator::CG:
      return false;
    default:
      return true;
  }
}

bool PerturbsInPairs(const v1::Estimator& estimator) {
  return estimator.kind() == v1::Estimator::EVOGRAD_ANTITHETIC ||
         estimator.kind() == v1::Estimator::EVOGRAD_GUIDED;
}

bool UsesInnerStep(const v1::Estimator& estimator) {
  if (estimator.kind() == v1::Estimator::NONE) return false;
  // Conjugate gradients need none, but the others that have no members do.
  if (!HasMembers(estimator)) return estimator.kind() != v1::Estimator::CG;
  return estimator.calibrated() || estimator.gradient_at() == v1::LOOK_AHEAD;
}

}  // namespace evograd
