// Goal: the estimators agree where mathematics says that they do. Method: the same first step of
// the conv problem in float64 by different estimators; hypergradients are compared as vectors, by
// their cosine and the ratio of their sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/engine/testing/engine_rig.h"

namespace evograd {
namespace {

struct Agreement {
  double cosine = 0;
  double size = 0;  // |a| / |b|
};

std::vector<double> Hypergradient(const std::string& estimator, uint64_t seed = 1) {
  const auto engine = MakeRigEngine(
      RigSpec(absl::StrCat("data_type: FLOAT64 seed: ", seed,
                           " estimator { inner_learning_rate: 0.05 ", estimator, " }")));
  EXPECT_TRUE(engine->Initialise().ok());
  const auto group = InProcessGroup(1);
  const absl::Status status = engine->RunStep(*group[0]);
  EXPECT_TRUE(status.ok()) << status;
  const auto& values = engine->pending()[0].hypergradient();
  return {values.begin(), values.end()};
}

Agreement Compare(const std::vector<double>& a, const std::vector<double>& b) {
  double aa = 0, ab = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    aa += a[i] * a[i];
    ab += a[i] * b[i];
    bb += b[i] * b[i];
  }
  EXPECT_GT(bb, 0);
  return {ab / std::sqrt(aa * bb), std::sqrt(aa / bb)};
}

TEST(EstimatorFamilyTest, GuidedPairAndFiniteDifferenceAreExactSecondOrder) {
  for (const uint64_t seed : {1, 2, 3}) {
    const std::vector<double> exact = Hypergradient("kind: T1T2", seed);
    for (const char* estimator :
         {"kind: EVOGRAD_GUIDED sigma: 1e-5", "kind: FINITE_DIFFERENCE difference_radius: 1e-4"}) {
      const Agreement agreement = Compare(Hypergradient(estimator, seed), exact);
      EXPECT_NEAR(agreement.cosine, 1, 1e-5) << estimator << ", seed " << seed;
      EXPECT_NEAR(agreement.size, 1, 1e-3) << estimator << ", seed " << seed;
    }
    // A pair along another direction is not.
    EXPECT_LT(Compare(Hypergradient("kind: EVOGRAD_ANTITHETIC sigma: 1e-5 common_layer_noise: true"
                                    " gradient_at: LOOK_AHEAD calibrated: true",
                                    seed),
                      exact)
                  .cosine,
              0.999);
  }
}

TEST(EstimatorFamilyTest, ALittleGuidanceGivesTheDirection) {
  // With n elements a share a of the variance along the gradient weighs a n against the noise's 1.
  const auto mean_cosine = [](const std::string& guidance) {
    double sum = 0;
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      const std::vector<double> guided = Hypergradient(
          absl::StrCat("kind: EVOGRAD_GUIDED sigma: 1e-5 guidance: ", guidance), seed);
      sum += Compare(guided, Hypergradient("kind: T1T2", seed)).cosine;
    }
    return sum / 8;
  };
  const double none = mean_cosine("0");
  const double half = mean_cosine("0.5");
  EXPECT_LT(none, 0.7);
  EXPECT_GT(half, none);
  EXPECT_GT(half, 0.8);
}

TEST(EstimatorFamilyTest, ALargePopulationTendsToTheExactGradientAtTheBasePoint) {
  // The inner step of T1T2 is so short that its g_V is that of the base point, as it is here.
  const std::vector<double> exact = Hypergradient("kind: NEUMANN iterations: 0");
  const Agreement agreement =
      Compare(Hypergradient("kind: EVOGRAD_ANTITHETIC population: 4096 sigma: 1e-4 calibrated: true"
                            " gradient_at: BASE common_layer_noise: true"),
              exact);
  EXPECT_GT(agreement.cosine, 0.95);
  EXPECT_NEAR(agreement.size, 1, 0.25);
}

TEST(EstimatorFamilyTest, NeumannAndConjugateGradientsSolveTheSameSystem) {
  // Damped until the series converges and the curvature is positive.
  const std::vector<double> cg = Hypergradient("kind: CG iterations: 60 damping: 6");
  const std::vector<double> series = Hypergradient("kind: NEUMANN iterations: 400 damping: 6");
  const Agreement agreement = Compare(series, cg);
  EXPECT_NEAR(agreement.cosine, 1, 1e-9);
  EXPECT_NEAR(agreement.size, 1, 1e-6);
  // A truncated series is another number.
  const std::vector<double> truncated = Hypergradient("kind: NEUMANN iterations: 1 damping: 6");
  EXPECT_GT(std::abs(Compare(truncated, cg).size - 1), 1e-3);
}

}  // namespace
}  // namespace evograd
