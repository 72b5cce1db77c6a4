// The members of a meta-step: who stands where around the base point.
#ifndef EVOGRAD_WORKER_ENGINE_POPULATION_H_
#define EVOGRAD_WORKER_ENGINE_POPULATION_H_

#include <cstdint>
#include <vector>

#include "algo/noise.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/kernels/kernels.h"

namespace evograd {

// One for each member, a pure function of its arguments. EVOGRAD: independent. EVOGRAD_ANTITHETIC:
// members 2i and 2i + 1 on opposite sides. EVOGRAD_SHARED: member 0 at the base point, the others
// independent.
std::vector<MemberNoise> PopulationOf(const v1::Estimator& estimator, uint64_t seed, int64_t step);

Perturbation PerturbationOf(const v1::Estimator& estimator);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_POPULATION_H_
