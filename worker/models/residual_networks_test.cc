// Goal: both residual networks compute what the same networks of PyTorch compute, in training and
// in evaluation mode, backward too, and start the same for the same seed. Method: parameters and
// images are sine waves that tests/golden/residual_networks.py builds too; it wrote down logits,
// losses, three figures of every gradient and the running statistics, in float64 and in PyTorch's
// default memory layout.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/golden/reader.h"
#include "worker/models/cifar_resnet.h"
#include "worker/models/wide_resnet.h"

namespace evograd {
namespace {

std::unique_ptr<ImageClassifier> Plain(int64_t depth, int64_t width, int64_t channels,
                                       int64_t classes) {
  return std::make_unique<CifarResNet>(CifarResNetOptions{depth, width, channels, classes});
}
std::unique_ptr<ImageClassifier> Wide(int64_t depth, int64_t width, int64_t channels,
                                      int64_t classes, double dropout = 0) {
  return std::make_unique<WideResNet>(WideResNetOptions{depth, width, channels, classes, dropout});
}

// scale * sin(0.7 i + phase), i counting elements; formulas are those of the script.
at::Tensor Wave(at::IntArrayRef shape, double scale, double phase) {
  const int64_t count = c10::multiply_integers(shape);
  return (scale * at::sin(0.7 * at::arange(count, at::kDouble) + phase)).view(shape);
}

int64_t ParametersOf(ImageClassifier& net) {
  int64_t count = 0;
  for (const at::Tensor& parameter : net.parameters()) count += parameter.numel();
  return count;
}

// Sums of the buffers of this name, layer by layer.
at::Tensor BufferSums(ImageClassifier& net, const std::string& name) {
  std::vector<at::Tensor> sums;
  for (const auto& item : net.named_buffers()) {
    if (item.key().size() >= name.size() &&
        item.key().compare(item.key().size() - name.size(), name.size(), name) == 0) {
      sums.push_back(item.value().sum());
    }
  }
  return at::stack(sums);
}

struct Case {
  std::string tag;
  std::function<std::unique_ptr<ImageClassifier>()> make;
  int64_t channels;
  int64_t extent;
};

class ResidualNetworksTest : public testing::TestWithParam<Case> {};

TEST_P(ResidualNetworksTest, AgreesWithPyTorch) {
  const golden::Numbers expected = golden::Read("tests/golden/residual_networks.txt");
  at::set_num_threads(1);
  const Case& c = GetParam();
  const auto at = [&](const std::string& name) { return expected.at(c.tag + "." + name); };
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const double tolerance = type == at::kDouble ? 1e-11 : 1e-4;
    const std::unique_ptr<ImageClassifier> net = c.make();
    net->to(type);
    double phase = 0;
    for (const auto& item : net->named_parameters()) {
      const at::NoGradGuard no_grad;
      const bool matrix = item.value().dim() > 1;
      const double scale = matrix ? 2 / std::sqrt(item.value()[0].numel()) : 0.3;
      const bool gain = item.key().find("bn") != std::string::npos &&
                        item.key().find("weight") != std::string::npos && !matrix;
      item.value().copy_(Wave(item.value().sizes(), scale, phase += 1) + (gain ? 1 : 0));
    }
    const at::Tensor images = Wave({2, c.channels, c.extent, c.extent}, 1.5, 0.25).to(type);
    net->train();
    at::Tensor logits, loss;
    for (int pass = 0; pass < 2; ++pass) {
      net->zero_grad();
      logits = net->Forward(images);
      loss = at::cross_entropy_loss(logits, at::arange(2, at::kLong));
      loss.backward();
    }
    golden::ExpectNear(logits, at("train.logits"), tolerance, "logits");
    golden::ExpectNear(loss, at("train.loss"), tolerance, "loss");
    for (const auto& item : net->named_parameters()) {
      const at::Tensor gradient = item.value().grad().to(at::kDouble).flatten();
      const at::Tensor figures = at::stack({gradient.sum(), gradient.square().sum(), gradient[0]});
      golden::ExpectNear(figures, at(item.key()), 50 * tolerance, item.key());
    }
    golden::ExpectNear(BufferSums(*net, "running_mean"), at("means"), tolerance, "means");
    golden::ExpectNear(BufferSums(*net, "running_var"), at("variances"), tolerance, "variances");
    net->eval();
    golden::ExpectNear(net->Forward(images), at("eval.logits"), tolerance, "evaluation");
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, ResidualNetworksTest,
                         testing::Values(Case{"resnet14", [] { return Plain(14, 1, 3, 10); }, 3,
                                              16},
                                         Case{"resnet8x2", [] { return Plain(8, 2, 1, 7); }, 1, 28},
                                         Case{"wrn16x1", [] { return Wide(16, 1, 3, 10); }, 3, 16},
                                         Case{"wrn10x2", [] { return Wide(10, 2, 1, 7); }, 1, 12}),
                         [](const auto& info) { return info.param.tag; });

TEST(ResidualNetworksTest, ParameterCountsAreThePublishedOnes) {
  const golden::Numbers expected = golden::Read("tests/golden/residual_networks.txt");
  EXPECT_EQ(ParametersOf(*Plain(32, 1, 3, 10)), 464'154);
  EXPECT_EQ(ParametersOf(*Plain(32, 1, 3, 10)), expected.at("count.resnet32")[0]);
  EXPECT_EQ(ParametersOf(*Plain(32, 1, 3, 100)), expected.at("count.resnet32.100")[0]);
  EXPECT_EQ(ParametersOf(*Wide(28, 10, 3, 10)), 36'479'194);
  EXPECT_EQ(expected.at("count.wrn28x10")[0], 36'479'194);
}

TEST(ResidualNetworksTest, DropoutRepeatsForASeedAndOnlyInTraining) {
  const auto net = Wide(10, 1, 1, 5, 0.3);
  net->Initialise(1);
  const at::Tensor images = Wave({2, 1, 8, 8}, 1, 0).to(at::kFloat);
  const auto forward = [&](uint64_t seed) {
    at::manual_seed(seed);
    return net->Forward(images);
  };
  net->train();
  EXPECT_TRUE(forward(1).equal(forward(1)));
  EXPECT_FALSE(forward(1).equal(forward(2)));
  net->eval();
  EXPECT_TRUE(forward(1).equal(forward(2)));
}

TEST(ResidualNetworksTest, InitialValuesAreThoseOfTheSeed) {
  for (const auto& make :
       {+[] { return Plain(8, 1, 3, 10); }, +[] { return Wide(10, 1, 3, 10); }}) {
    const auto net = make(), same = make(), other = make();
    net->Initialise(3);
    same->train();
    same->Forward(Wave({2, 3, 8, 8}, 1, 0).to(at::kFloat));  // moves the statistics
    same->Initialise(3);
    other->Initialise(4);
    for (const auto& item : net->named_parameters()) {
      EXPECT_TRUE(item.value().equal(same->named_parameters()[item.key()])) << item.key();
      if (item.value().dim() > 1) {
        EXPECT_FALSE(item.value().equal(other->named_parameters()[item.key()])) << item.key();
      }
    }
    for (const auto& item : net->named_buffers()) {
      EXPECT_TRUE(item.value().equal(same->named_buffers()[item.key()])) << item.key();
    }
  }
}

TEST(ResidualNetworksTest, InitialValuesHaveThePublishedSpread) {
  // Each weight's standard deviation over that of its rule; convolutions are [out, in, 3, 3].
  const auto plain = Plain(8, 4, 3, 10);
  plain->Initialise(1);
  const at::Tensor conv = plain->named_parameters()["layer3_0.conv1.weight"];
  EXPECT_NEAR(conv.std().item<double>() / std::sqrt(2.0 / (conv.size(1) * 9)), 1, 0.02);
  const at::Tensor linear = plain->named_parameters()["linear.weight"];
  EXPECT_NEAR(linear.std().item<double>() / std::sqrt(2.0 / linear.size(1)), 1, 0.1);
  const auto wide = Wide(10, 4, 3, 10);
  wide->Initialise(1);
  const at::Tensor wide_conv = wide->named_parameters()["block3_0.conv1.weight"];
  EXPECT_NEAR(wide_conv.std().item<double>() / std::sqrt(2.0 / (wide_conv.size(0) * 9)), 1, 0.02);
  const at::Tensor wide_linear = wide->named_parameters()["linear.weight"];
  EXPECT_NEAR(wide_linear.std().item<double>() * std::sqrt(3.0 * wide_linear.size(1)), 1, 0.1);
  EXPECT_TRUE(wide->named_parameters()["linear.bias"].eq(0).all().item<bool>());
}

}  // namespace
}  // namespace evograd
