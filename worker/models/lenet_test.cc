// Goal: LeNet computes what the same network of PyTorch computes, and starts the same for the same
// seed. Method: weights and images are sine waves that tests/golden/lenet.py builds too; it wrote
// down logits, loss and three figures of every gradient (sum, sum of squares, first value) as
// PyTorch has them in float64.
#include "worker/models/lenet.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/golden/reader.h"

namespace evograd {
namespace {

// scale * sin(0.7 i + phase), i counting elements; formulas are those of lenet.py.
at::Tensor Wave(at::IntArrayRef shape, double scale, double phase) {
  const int64_t count = c10::multiply_integers(shape);
  return (scale * at::sin(0.7 * at::arange(count, at::kDouble) + phase)).view(shape);
}

class LeNetTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(LeNetTest, AgreesWithPyTorch) {
  const golden::Numbers expected = golden::Read("tests/golden/lenet.txt");
  LeNet net;
  net.to(GetParam());
  double phase = 0;
  for (const auto& item : net.named_parameters()) {
    const at::NoGradGuard no_grad;
    const int64_t fan_in = item.value().dim() > 1 ? item.value()[0].numel() : 100;
    item.value().copy_(Wave(item.value().sizes(), 2 / std::sqrt(fan_in), phase += 1));
  }
  const at::Tensor images = Wave({4, 1, LeNet::kExtent, LeNet::kExtent}, 1.5, 0.25);
  const at::Tensor logits = net.Forward(images.to(GetParam()));
  const at::Tensor loss = at::cross_entropy_loss(logits, at::arange(4, at::kLong));
  loss.backward();

  const double tolerance = GetParam() == at::kDouble ? 1e-12 : 2e-5;
  golden::ExpectNear(logits, expected.at("logits"), tolerance, "logits");
  golden::ExpectNear(loss, expected.at("loss"), tolerance, "loss");
  for (const auto& item : net.named_parameters()) {
    const at::Tensor gradient = item.value().grad().to(at::kDouble).flatten();
    const at::Tensor figures = at::stack({gradient.sum(), gradient.square().sum(), gradient[0]});
    golden::ExpectNear(figures, expected.at(item.key()), 10 * tolerance, item.key());
  }
}
INSTANTIATE_TEST_SUITE_P(Types, LeNetTest, testing::Values(at::kFloat, at::kDouble));

TEST(LeNetTest, InitialValuesAreThoseOfTheSeed) {
  LeNet net, same, other;
  net.Initialise(3);
  same.Initialise(3);
  other.Initialise(4);
  int64_t count = 0;
  for (const auto& item : net.named_parameters()) {
    EXPECT_TRUE(item.value().equal(same.named_parameters()[item.key()])) << item.key();
    EXPECT_FALSE(item.value().equal(other.named_parameters()[item.key()])) << item.key();
    count += item.value().numel();
  }
  EXPECT_EQ(count, 61706);
  other.to(at::kDouble);
  other.Initialise(3);
  EXPECT_TRUE(other.named_parameters()["fc1.weight"]
                  .to(at::kFloat)
                  .equal(net.named_parameters()["fc1.weight"]));
}

TEST(LeNetTest, TheNumberOfClassesIsTheJobs) {
  LeNet net(3);
  net.Initialise(1);
  const at::Tensor logits =
      net.Forward(Wave({2, 1, LeNet::kExtent, LeNet::kExtent}, 1, 0).to(at::kFloat));
  EXPECT_EQ(logits.sizes(), (at::IntArrayRef{2, 3}));
  int64_t count = 0;
  for (const at::Tensor& parameter : net.parameters()) count += parameter.numel();
  EXPECT_EQ(count, 61706 - 7 * 85);
}

TEST(LeNetTest, InitialValuesFillPyTorchsRange) {
  LeNet net;
  net.Initialise(1);
  for (const auto& layer : net.named_children()) {
    const at::Tensor weight = layer.value()->named_parameters()["weight"];
    const double bound = 1 / std::sqrt(static_cast<double>(weight[0].numel()));
    const double largest = weight.abs().max().item<double>();
    EXPECT_LE(largest, bound) << layer.key();
    EXPECT_GT(largest, 0.95 * bound) << layer.key();
    // A uniform variable's standard deviation.
    EXPECT_NEAR(weight.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound) << layer.key();
    EXPECT_LE(layer.value()->named_parameters()["bias"].abs().max().item<double>(), bound);
  }
}

}  // namespace
}  // namespace evograd
