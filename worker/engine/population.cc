#include "worker/engine/population.h"

#include <cmath>

#include "spec/estimator.h"

namespace evograd {

std::vector<MemberNoise> PopulationOf(const v1::Estimator& estimator, uint64_t seed, int64_t step) {
  const bool pairs = PerturbsInPairs(estimator);
  const bool shared = estimator.kind() == v1::Estimator::EVOGRAD_SHARED;
  std::vector<MemberNoise> members;
  for (int k = 0; k < estimator.population(); ++k) {
    MemberNoise member;
    member.key = {seed, static_cast<uint32_t>(step), static_cast<uint32_t>(k)};
    if (pairs && k % 2 == 1) member.key.member = k - 1;
    if ((pairs || estimator.guidance() > 0) && k % 2 == 1) member.scale = -1;
    if (shared && k == 0) member.scale = 0;
    members.push_back(member);
  }
  return members;
}

Perturbation PerturbationOf(const v1::Estimator& estimator) {
  return {estimator.noise() == v1::NORMAL ? NoiseKind::kNormal : NoiseKind::kRademacher,
          estimator.sigma() * std::sqrt(1 - estimator.guidance())};
}

Guide GuideOf(const v1::Estimator& estimator, const FlatKernels& kernels,
              const at::Tensor& gradient) {
  Guide guide;
  if (!(estimator.guidance() > 0)) return guide;
  guide.gradient = gradient;
  guide.norm = std::sqrt(kernels.PerturbedSquaredNorm(gradient));
  if (guide.norm > 0) {
    guide.factor = estimator.sigma() *
                   std::sqrt(estimator.guidance() * kernels.perturbed_elements()) / guide.norm;
  }
  return guide;
}

double GuidedVariance(const v1::Estimator& estimator, int64_t perturbed_elements) {
  return 1 - estimator.guidance() + estimator.guidance() * perturbed_elements;
}

}  // namespace evograd
