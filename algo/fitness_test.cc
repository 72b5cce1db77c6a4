// Goal: weights, entropy and coefficients are the mathematics of the header, also at the ends.
// Method: known values, central differences of the weighted sum, invariances, extreme losses.
#include "algo/fitness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace evograd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<double> Weights(const std::vector<double>& losses, double tau) {
  absl::StatusOr<std::vector<double>> weights = FitnessWeights(losses, tau);
  EXPECT_TRUE(weights.ok()) << weights.status();
  return weights.ok() ? *weights : std::vector<double>(losses.size(), 0.0);
}

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(FitnessWeightsTest, AreTheSoftmax) {
  const std::vector<double> losses = {0.3, 0.1, 0.25};
  const double tau = 0.05;
  double sum = 0;
  for (double loss : losses) sum += std::exp(-loss / tau);
  const std::vector<double> weights = Weights(losses, tau);
  for (size_t k = 0; k < losses.size(); ++k) {
    EXPECT_NEAR(weights[k], std::exp(-losses[k] / tau) / sum, 1e-15);
  }
}

TEST(FitnessWeightsTest, ACommonShiftChangesNothing) {
  const std::vector<double> losses = {0.5, 0.75, 1.5, 0.5};
  std::vector<double> shifted = losses;
  for (double& loss : shifted) loss += 1024;  // exact
  EXPECT_EQ(Weights(losses, 0.5), Weights(shifted, 0.5));
  shifted[1] += 1;  // a shift of one alone does
  EXPECT_NE(Weights(losses, 0.5), Weights(shifted, 0.5));
}

TEST(FitnessWeightsTest, OneMemberWeighsOne) {
  EXPECT_EQ(Weights({123.0}, 0.05), std::vector<double>{1.0});
}

TEST(FitnessWeightsTest, ExtremeLosses) {
  EXPECT_EQ(Weights({1e300, -1e300}, 0.05), (std::vector<double>{0, 1}));
  EXPECT_EQ(Weights({-1e308, 1e308}, 1e-300), (std::vector<double>{1, 0}));
  EXPECT_EQ(Weights({1e300, 1e300}, 0.05), (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(Weights({0, 1}, 1e300), (std::vector<double>{0.5, 0.5}));
  const std::vector<double> many = Weights(std::vector<double>(4096, 7.0), 0.05);
  EXPECT_EQ(Sum(many), 1);
}

TEST(FitnessWeightsTest, NamesTheMemberThatIsNotFinite) {
  EXPECT_TRUE(FitnessWeights({1.0, 2.0, 3.0}, 0.05).ok());
  for (double bad : {kNan, kInfinity, -kInfinity}) {
    const absl::Status status = FitnessWeights({1.0, 2.0, bad}, 0.05).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_NE(status.message().find("member 2"), absl::string_view::npos) << status;
  }
}

TEST(FitnessWeightsTest, RefusesABadTemperatureAndAnEmptyPopulation) {
  EXPECT_TRUE(FitnessWeights({1.0}, 0.05).ok());
  for (double tau : {0.0, -1.0, kNan, kInfinity}) {
    EXPECT_EQ(FitnessWeights({1.0}, tau).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(FitnessWeights({}, 0.05).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(FitnessEntropyTest, KnownValues) {
  EXPECT_NEAR(FitnessEntropy({0.25, 0.25, 0.25, 0.25}), std::log(4.0), 1e-15);
  EXPECT_NEAR(FitnessEntropy({0.9, 0.1}), -0.9 * std::log(0.9) - 0.1 * std::log(0.1), 1e-15);
  EXPECT_EQ(FitnessEntropy({0.0, 1.0}), 0);
  EXPECT_EQ(FitnessEntropy({1.0}), 0);
  EXPECT_NEAR(FitnessEntropy({5e-324, 1.0}), 0, 1e-300);
}

// d/d l_k of sum_j w_j(l) s_j, the part of l_V that depends on l to first order.
std::vector<double> ByDifferences(std::vector<double> losses, const std::vector<double>& s,
                                  double tau) {
  const double step = 1e-5 * tau;
  std::vector<double> derivative(losses.size());
  const auto value = [&] {
    const std::vector<double> weights = Weights(losses, tau);
    return std::inner_product(weights.begin(), weights.end(), s.begin(), 0.0);
  };
  for (size_t k = 0; k < losses.size(); ++k) {
    const double loss = losses[k];
    losses[k] = loss + step;
    const double above = value();
    losses[k] = loss - step;
    derivative[k] = (above - value()) / (2 * step);
    losses[k] = loss;
  }
  return derivative;
}

TEST(HypergradientCoefficientsTest, AreTheDerivative) {
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  for (int size : {2, 3, 10}) {
    for (double tau : {0.05, 0.5, 2.0}) {
      std::vector<double> losses(size);
      std::vector<double> projections(size);
      for (double& loss : losses) loss = tau * normal(random);
      for (double& projection : projections) projection = 3 + normal(random);
      const std::vector<double> coefficients =
          HypergradientCoefficients(Weights(losses, tau), projections, tau);
      const std::vector<double> differences = ByDifferences(losses, projections, tau);
      for (int k = 0; k < size; ++k) {
        EXPECT_NEAR(coefficients[k], differences[k], 1e-7 / tau) << size << " " << tau;
      }
      // A common shift of the losses leaves the weights, so the derivative along it is 0.
      EXPECT_NEAR(Sum(coefficients), 0, 1e-13 / tau);
    }
  }
}

TEST(HypergradientCoefficientsTest, ACommonShiftOfProjectionsChangesNothing) {
  const std::vector<double> weights = {0.25, 0.5, 0.25};
  EXPECT_EQ(HypergradientCoefficients(weights, {1, 2, 4}, 0.5),
            HypergradientCoefficients(weights, {65, 66, 68}, 0.5));
  EXPECT_NE(HypergradientCoefficients(weights, {1, 2, 4}, 0.5),
            HypergradientCoefficients(weights, {65, 66, 69}, 0.5));
}

TEST(HypergradientCoefficientsTest, OneMemberTeachesNothing) {
  EXPECT_EQ(HypergradientCoefficients({1.0}, {5.0}, 0.05), std::vector<double>{0.0});
}

}  // namespace
}  // namespace evograd
