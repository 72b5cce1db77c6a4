// Goal: the weighting net and both losses are what torch.nn computes, gradients too; weights that
// vanish harm nothing. Method: tests/golden/weighting_net.py wrote the numbers down in float64 for
// hyperparameters that are a sine wave.
#include "worker/models/weighting_net.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "tests/golden/reader.h"

namespace evograd {
namespace {

constexpr int64_t kHidden = 100;

at::Tensor Vector(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

TEST(WeightingNetTest, AgreesWithPyTorch) {
  const golden::Numbers expected = golden::Read("tests/golden/weighting_net.txt");
  const WeightingNet net(kHidden);
  const std::vector<std::pair<std::string, WeightNormalisation>> kinds = {
      {"sum_to_one", WeightNormalisation::kSumToOne}, {"mean", WeightNormalisation::kMean}};
  for (const auto& [name, normalisation] : kinds) {
    const at::Tensor lambda =
        at::sin(0.7 * at::arange(net.size(), at::kDouble) + 0.2).requires_grad_(true);
    const at::Tensor seen = Vector({0.05, 0.4, 1.1, 2.3, 4.0}).requires_grad_(true);
    const at::Tensor losses = Vector({0.1, 0.35, 1.2, 2.2, 3.9}).requires_grad_(true);
    const at::Tensor weights = net.Weights(lambda, seen);
    golden::ExpectNear(weights, expected.at("weights"), 1e-13, "weights");
    const at::Tensor loss = WeightedLoss(weights, losses, normalisation);
    golden::ExpectNear(loss, expected.at(name + ".loss"), 1e-13, name);
    loss.backward();
    golden::ExpectNear(lambda.grad(), expected.at(name + ".lambda"), 1e-12, name);
    golden::ExpectNear(losses.grad(), expected.at(name + ".losses"), 1e-13, name);
    EXPECT_FALSE(seen.grad().defined()) << "the losses that weights come from are constants";
  }
}

TEST(WeightingNetTest, NamesAndInitialValuesBelongTogether) {
  const WeightingNet net(kHidden);
  EXPECT_EQ(net.size(), 301);
  const std::vector<std::string> names = net.names();
  const std::vector<double> values = net.InitialValues(5);
  ASSERT_EQ(names.size(), 301u);
  ASSERT_EQ(values.size(), 301u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 301u);
  EXPECT_EQ(names[0], "hidden.weight[0]");
  EXPECT_EQ(names[199], "hidden.bias[99]");
  EXPECT_EQ(names[200], "output.weight[0]");
  EXPECT_EQ(names[300], "output.bias");
  EXPECT_EQ(values, net.InitialValues(5));
  EXPECT_NE(values, net.InitialValues(6));
  for (size_t i = 0; i < values.size(); ++i) EXPECT_LT(std::abs(values[i]), i < 200 ? 1 : 0.1) << i;
  EXPECT_GT(*std::max_element(values.begin(), values.begin() + 100), 0.9);
  EXPECT_LT(*std::min_element(values.begin() + 200, values.end()), -0.09);
}

TEST(WeightedLossTest, WeightsThatVanishLeaveALossOfZeroAndFiniteGradients) {
  const at::Tensor weights = at::zeros({3}, at::kDouble).requires_grad_(true);
  const at::Tensor losses = Vector({1, 2, 3}).requires_grad_(true);
  const at::Tensor loss = WeightedLoss(weights, losses, WeightNormalisation::kSumToOne);
  EXPECT_EQ(loss.item<double>(), 0);
  loss.backward();
  EXPECT_TRUE(weights.grad().isfinite().all().item<bool>());
  EXPECT_TRUE(losses.grad().eq(0).all().item<bool>());
  // Its twin: one weight is enough.
  EXPECT_EQ(
      WeightedLoss(Vector({0, 1e-30, 0}), losses, WeightNormalisation::kSumToOne).item<double>(),
      2);
}

TEST(WeightedLossTest, OnlyTheMeanFeelsTheScaleOfWeights) {
  const at::Tensor weights = Vector({0.1, 0.2, 0.4});
  const at::Tensor losses = Vector({1, 2, 3});
  const auto loss = [&](double scale, WeightNormalisation normalisation) {
    return WeightedLoss(scale * weights, losses, normalisation).item<double>();
  };
  EXPECT_NEAR(loss(1, WeightNormalisation::kSumToOne), 1.7 / 0.7, 1e-14);
  EXPECT_NEAR(loss(2, WeightNormalisation::kSumToOne), 1.7 / 0.7, 1e-14);
  EXPECT_NEAR(loss(1, WeightNormalisation::kMean), 1.7 / 3, 1e-14);
  EXPECT_NEAR(loss(2, WeightNormalisation::kMean), 3.4 / 3, 1e-14);
}

}  // namespace
}  // namespace evograd
