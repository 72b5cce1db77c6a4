#include "worker/engine/population.h"

namespace evograd {

std::vector<MemberNoise> PopulationOf(const v1::Estimator& estimator, uint64_t seed, int64_t step) {
  std::vector<MemberNoise> members;
  for (int k = 0; k < estimator.population(); ++k) {
    MemberNoise member;
    member.key = {seed, static_cast<uint32_t>(step), static_cast<uint32_t>(k)};
    if (estimator.kind() == v1::Estimator::EVOGRAD_ANTITHETIC && k % 2 == 1) {
      member.key.member = k - 1;
      member.scale = -1;
    }
    if (estimator.kind() == v1::Estimator::EVOGRAD_SHARED && k == 0) member.scale = 0;
    members.push_back(member);
  }
  return members;
}

Perturbation PerturbationOf(const v1::Estimator& estimator) {
  return {estimator.noise() == v1::NORMAL ? NoiseKind::kNormal : NoiseKind::kRademacher,
          estimator.sigma()};
}

}  // namespace evograd
