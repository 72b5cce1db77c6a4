// The members of a meta-step: who stands where around the base point.
#ifndef EVOGRAD_WORKER_ENGINE_POPULATION_H_
#define EVOGRAD_WORKER_ENGINE_POPULATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "algo/noise.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/engine/flat_kernels.h"
#include "worker/kernels/kernels.h"

namespace evograd {

// One for each member, a pure function of its arguments. EVOGRAD: independent. EVOGRAD_ANTITHETIC
// and EVOGRAD_GUIDED: members 2i and 2i + 1 on opposite sides. EVOGRAD_SHARED: member 0 at the base
// point, the others independent. With guidance, members that are not in pairs take the two sides of
// the gradient in turn.
std::vector<MemberNoise> PopulationOf(const v1::Estimator& estimator, uint64_t seed, int64_t step);

// The part of the perturbation that is drawn: sigma sqrt(1 - guidance).
Perturbation PerturbationOf(const v1::Estimator& estimator);

// The part along the validation gradient g: with guidance, member k stands at
//
//   theta + scale_k sigma (sqrt(1 - guidance) z_k + sqrt(guidance n) g / |g|)
//
// z_k the drawn noise, n the number of perturbed elements, over which g and |g| are taken
// (N. Maheswaranathan et al., "Guided evolutionary strategies", ICML 2019, for one direction).
struct Guide {
  at::Tensor gradient;
  double norm = 0;
  // What g is multiplied by where scale_k is 1; 0 without guidance or where g is 0.
  double factor = 0;

  bool active() const { return factor != 0; }
};

Guide GuideOf(const v1::Estimator& estimator, const FlatKernels& kernels,
              const at::Tensor& gradient);

// The variance of the perturbation, over sigma^2, along what guides it; 1 without guidance.
double GuidedVariance(const v1::Estimator& estimator, int64_t perturbed_elements);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_POPULATION_H_
