// What an estimator is made of, as far as more than one place asks. Pure.
#ifndef EVOGRAD_SPEC_ESTIMATOR_H_
#define EVOGRAD_SPEC_ESTIMATOR_H_

#include "proto/evograd/v1/job.pb.h"

namespace evograd {

// Whether it evaluates a population: it has members, their losses and fitness weights.
bool HasMembers(const v1::Estimator& estimator);

// Whether members 2i and 2i + 1 stand on opposite sides of the base point.
bool PerturbsInPairs(const v1::Estimator& estimator);

// Whether the inner learning rate has an effect.
bool UsesInnerStep(const v1::Estimator& estimator);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_ESTIMATOR_H_
