// Goal: only the perturbed part of theta moves, and the three noise kernels agree on what the noise
// is. Method: a layout whose middle tensor is not perturbed; identities between the kernels.
#include "worker/engine/flat_kernels.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace evograd {
namespace {

constexpr double kSigma = 0.5;

class FlatKernelsTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  FlatKernelsTest() : layout_(c10::elementSize(GetParam())) {
    layout_.Add("first", {100});
    layout_.Add("fixed", {3, 50}, /*perturbed=*/false);
    layout_.Add("last", {7});
    layout_.Add("more", {300});
    for (uint32_t k = 0; k < 3; ++k) members_.push_back({{9, 4, k}, 1});
    members_.push_back({{9, 4, 2}, -1});
    members_.push_back({{9, 4, 4}, 0});
  }

  at::Tensor Zeros() const { return at::zeros({layout_.elements()}, GetParam()); }
  at::Tensor Slot(const at::Tensor& flat, int i) const {
    return flat.narrow(0, layout_.slots()[i].offset, layout_.slots()[i].size);
  }
  // sigma * scale * epsilon of a member.
  at::Tensor Noise(const FlatKernels& kernels, int member) const {
    const at::Tensor out = Zeros();
    EXPECT_TRUE(kernels.Perturb({NoiseKind::kNormal, kSigma}, members_[member], Zeros(), out).ok());
    return out;
  }

  ParameterLayout layout_;
  std::vector<MemberNoise> members_;
};

TEST_P(FlatKernelsTest, TheUnperturbedPartIsTheBase) {
  const FlatKernels kernels(layout_, GetParam(), at::kCPU);
  const at::Tensor base = at::arange(layout_.elements(), GetParam());
  const at::Tensor member = at::full_like(base, -1);
  const at::Tensor recombined = at::full_like(base, -1);
  const Perturbation perturbation{NoiseKind::kRademacher, kSigma};
  ASSERT_TRUE(kernels.Perturb(perturbation, members_[0], base, member).ok());
  ASSERT_TRUE(
      kernels.Recombine(perturbation, members_, {0.1, 0.2, 0.3, 0.1, 0.3}, base, recombined).ok());
  for (const at::Tensor& out : {member, recombined}) {
    EXPECT_TRUE(at::equal(Slot(out, 1), Slot(base, 1)));
    for (const int slot : {0, 2, 3}) EXPECT_FALSE(at::equal(Slot(out, slot), Slot(base, slot)));
  }
}

TEST_P(FlatKernelsTest, MembersAreWhatTheirDescriptorsSay) {
  const FlatKernels kernels(layout_, GetParam(), at::kCPU);
  EXPECT_TRUE(at::equal(Noise(kernels, 2), -Noise(kernels, 3)));
  EXPECT_EQ(Noise(kernels, 4).abs().max().item<double>(), 0);
  EXPECT_FALSE(at::equal(Noise(kernels, 0), Noise(kernels, 1)));
}

TEST_P(FlatKernelsTest, RecombinationAndDotsAgreeWithTheMembers) {
  const FlatKernels kernels(layout_, GetParam(), at::kCPU);
  const double tolerance = GetParam() == at::kDouble ? 1e-12 : 1e-4;
  const std::vector<double> weights = {0.1, 0.2, 0.4, 0.1, 0.2};
  at::Tensor expected = Zeros();
  for (int k = 0; k < 5; ++k) expected += weights[k] * Noise(kernels, k);
  const at::Tensor recombined = Zeros();
  ASSERT_TRUE(
      kernels.Recombine({NoiseKind::kNormal, kSigma}, members_, weights, Zeros(), recombined).ok());
  EXPECT_LT((recombined - expected).abs().max().item<double>(), tolerance);

  const at::Tensor x = at::arange(layout_.elements(), GetParam()).sin();
  const auto dots = kernels.NoiseDots(NoiseKind::kNormal, members_, x);
  ASSERT_TRUE(dots.ok());
  for (int k = 0; k < 5; ++k) {
    EXPECT_NEAR((*dots)[k] * kSigma, x.dot(Noise(kernels, k)).item<double>(), 10 * tolerance) << k;
  }
}

TEST_P(FlatKernelsTest, FirstNonFiniteFindsIt) {
  const FlatKernels kernels(layout_, GetParam(), at::kCPU);
  const at::Tensor x = Zeros();
  EXPECT_EQ(*kernels.FirstNonFinite(x), -1);
  x[200].fill_(INFINITY);
  x[201].fill_(NAN);
  EXPECT_EQ(*kernels.FirstNonFinite(x), 200);
}

INSTANTIATE_TEST_SUITE_P(Types, FlatKernelsTest, testing::Values(at::kFloat, at::kDouble));

}  // namespace
}  // namespace evograd
