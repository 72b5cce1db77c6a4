// Goal: ThinConv2d has the values, gradients and second derivatives of at::conv2d.
// Method: both on the same random numbers in float64, for every choice of what requires a gradient.
#include "worker/models/thin_conv.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>
#include <vector>

namespace evograd {
namespace {

constexpr int64_t kPadding = 2;

struct Case {
  Case() {
    at::manual_seed(3);
    inputs = {at::randn({2, 1, 9, 8}, at::kDouble), at::randn({3, 1, 5, 5}, at::kDouble),
              at::randn({3}, at::kDouble)};
  }
  at::Tensor Thin() const { return ThinConv2d(inputs[0], inputs[1], inputs[2], kPadding); }
  at::Tensor Plain() const { return at::conv2d(inputs[0], inputs[1], inputs[2], 1, kPadding); }

  std::vector<at::Tensor> inputs;  // pictures, weight, bias
};

TEST(ThinConv2dTest, ValuesAndGradientsAreThoseOfConv2d) {
  for (int required = 1; required < 8; ++required) {
    Case c;
    std::vector<at::Tensor> leaves;
    for (int i = 0; i < 3; ++i) {
      if (required >> i & 1) leaves.push_back(c.inputs[i].requires_grad_(true));
    }
    const at::Tensor thin = c.Thin();
    const at::Tensor plain = c.Plain();
    EXPECT_TRUE(thin.equal(plain));
    const auto a = torch::autograd::grad({thin.sin().sum()}, leaves);
    const auto b = torch::autograd::grad({plain.sin().sum()}, leaves);
    for (size_t i = 0; i < leaves.size(); ++i) {
      EXPECT_TRUE(a[i].allclose(b[i], 1e-12, 1e-12)) << required << " " << i;
    }
  }
}

TEST(ThinConv2dTest, SecondDerivativesAreThoseOfConv2d) {
  std::vector<std::vector<at::Tensor>> results;
  for (const bool thin : {true, false}) {
    Case c;
    for (at::Tensor& input : c.inputs) input.requires_grad_(true);
    const at::Tensor loss = (thin ? c.Thin() : c.Plain()).sin().sum();
    const auto first = torch::autograd::grad({loss}, c.inputs, {}, true, true);
    at::Tensor dot = at::zeros({}, at::kDouble);
    for (const at::Tensor& gradient : first) dot = dot + gradient.square().sum();
    results.push_back(torch::autograd::grad({dot}, c.inputs));
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_GT(results[0][i].abs().max().item<double>(), 1e-3);
    EXPECT_TRUE(results[0][i].allclose(results[1][i], 1e-11, 1e-11)) << i;
  }
}

}  // namespace
}  // namespace evograd
