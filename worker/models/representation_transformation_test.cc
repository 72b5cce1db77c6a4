// Goal: the network is MetaXL's, with its derivatives of first and second order, and begins as
// published. Method: tests/golden/representation_transformation.py wrote down what PyTorch's own
// layers give between a linear layer and a classifier; counts from the published sizes; moments of
// the initial weights.
#include "worker/models/representation_transformation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "tests/golden/reader.h"

namespace evograd {
namespace {

TEST(RepresentationTransformationTest, AgreesWithPyTorch) {
  const golden::Numbers expected = golden::Read("tests/golden/representation_transformation.txt");
  constexpr int64_t kHidden = 4;
  const RepresentationTransformation network(kHidden, 3);
  const auto count = [](int64_t n) { return at::arange(n, at::kDouble); };
  const at::Tensor below = at::cos(0.3 * count(16)).view({kHidden, kHidden}).requires_grad_(true);
  const at::Tensor classifier = at::sin(1 + count(8)).view({2, kHidden}).requires_grad_(true);
  const at::Tensor lambda = at::sin(0.7 * count(network.size())).requires_grad_(true);
  golden::ExpectNear(lambda, expected.at("lambda"), 1e-12, "lambda");
  const at::Tensor x = at::sin(0.2 * count(24)).view({2, 3, kHidden});
  const at::Tensor labels = at::tensor({0, 1, 1, 0, 1, 0}, at::kLong);

  const at::Tensor transformed = network.Forward(at::matmul(x, below.t()), lambda);
  golden::ExpectNear(transformed, expected.at("transformed"), 1e-12, "transformed");
  const at::Tensor logits = at::matmul(transformed, classifier.t()).flatten(0, 1);
  const at::Tensor loss = at::cross_entropy_loss(logits, labels);
  golden::ExpectNear(loss, expected.at("loss"), 1e-12, "loss");
  const auto gradients =
      torch::autograd::grad({loss}, {below, classifier, lambda}, {}, true, /*create_graph=*/true);
  golden::ExpectNear(gradients[0], expected.at("below"), 1e-12, "below");
  golden::ExpectNear(gradients[1], expected.at("classifier"), 1e-12, "classifier");
  golden::ExpectNear(gradients[2], expected.at("gradient"), 1e-12, "gradient");
  const at::Tensor cross =
      torch::autograd::grad({gradients[0].sum() + gradients[1].sum()}, {lambda})[0];
  golden::ExpectNear(cross, expected.at("cross"), 1e-12, "cross");
}

TEST(RepresentationTransformationTest, PublishedSize) {
  const RepresentationTransformation network(768, 384);
  EXPECT_EQ(network.size(), 591'361);
  EXPECT_EQ(network.names().size(), 591'361u);
  EXPECT_EQ(network.Initial(1).size(), 591'361u);
}

TEST(RepresentationTransformationTest, NamesFollowTheLayout) {
  const RepresentationTransformation network(2, 1);
  EXPECT_EQ(network.names(), (std::vector<std::string>{
                                 "first.weight[0,0]", "first.weight[0,1]", "first.bias[0]",
                                 "second.weight[0,0]", "second.weight[1,0]", "second.weight[2,0]",
                                 "second.bias[0]", "second.bias[1]", "second.bias[2]"}));
}

TEST(RepresentationTransformationTest, BeginsXavierNormalWithZeroBiases) {
  constexpr int64_t kHidden = 128;
  constexpr int64_t kBottleneck = 64;
  const RepresentationTransformation network(kHidden, kBottleneck);
  const std::vector<double> values = network.Initial(3);
  EXPECT_EQ(values, network.Initial(3)) << "a pure function of the seed";
  EXPECT_NE(values, network.Initial(4));
  const std::vector<std::string> names = network.names();
  const auto squares = [&](const std::string& part) {
    double sum = 0;
    int64_t count = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      if (names[i].rfind(part, 0) != 0) continue;
      sum += values[i] * values[i];
      ++count;
    }
    return sum / count;
  };
  EXPECT_NEAR(squares("first.weight") * (kHidden + kBottleneck) / 2, 1, 0.1);
  EXPECT_NEAR(squares("second.weight") * (kHidden + 1 + kBottleneck) / 2, 1, 0.1);
  EXPECT_EQ(squares("first.bias"), 0);
  EXPECT_EQ(squares("second.bias"), 0);
}

}  // namespace
}  // namespace evograd
