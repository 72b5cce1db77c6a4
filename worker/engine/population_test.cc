// Goal: each kind of population is what its name says. Method: the descriptors of a few members.
#include "worker/engine/population.h"

#include <gtest/gtest.h>

namespace evograd {
namespace {

std::vector<MemberNoise> Members(v1::Estimator::Kind kind, int population) {
  v1::Estimator estimator;
  estimator.set_kind(kind);
  estimator.set_population(population);
  return PopulationOf(estimator, 5, 7);
}

TEST(PopulationTest, PublishedMembersAreIndependent) {
  const auto members = Members(v1::Estimator::EVOGRAD, 3);
  ASSERT_EQ(members.size(), 3u);
  for (uint32_t k = 0; k < 3; ++k) {
    EXPECT_TRUE(members[k].key == (NoiseKey{5, 7, k}));
    EXPECT_EQ(members[k].scale, 1);
  }
}

TEST(PopulationTest, AntitheticMembersComeInOppositePairs) {
  const auto members = Members(v1::Estimator::EVOGRAD_ANTITHETIC, 4);
  for (int pair = 0; pair < 2; ++pair) {
    const MemberNoise& plus = members[2 * pair];
    const MemberNoise& minus = members[2 * pair + 1];
    EXPECT_TRUE(plus.key == minus.key);
    EXPECT_EQ(plus.scale, 1);
    EXPECT_EQ(minus.scale, -1);
  }
  EXPECT_FALSE(members[0].key == members[2].key);
}

TEST(PopulationTest, FirstSharedMemberIsTheBasePoint) {
  const auto members = Members(v1::Estimator::EVOGRAD_SHARED, 3);
  EXPECT_EQ(members[0].scale, 0);
  EXPECT_EQ(members[1].scale, 1);
  EXPECT_FALSE(members[1].key == members[2].key);
}

TEST(PopulationTest, PerturbationTakesTheJobsNoise) {
  v1::Estimator estimator;
  estimator.set_sigma(0.25);
  estimator.set_noise(v1::NORMAL);
  EXPECT_EQ(PerturbationOf(estimator).kind, NoiseKind::kNormal);
  EXPECT_EQ(PerturbationOf(estimator).sigma, 0.25);
  estimator.set_noise(v1::RADEMACHER);
  EXPECT_EQ(PerturbationOf(estimator).kind, NoiseKind::kRademacher);
}

}  // namespace
}  // namespace evograd
