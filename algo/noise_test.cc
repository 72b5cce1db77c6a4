// Goal: the noise has the distribution it names, is independent across all parts of its key, and is
// the same for ever. Method: moments, Kolmogorov-Smirnov and correlations over fixed keys with
// bounds of five standard errors; Box-Muller written plainly with libm; values held fast.
#include "algo/noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace evograd {
namespace {

constexpr int kElements = 1 << 18;
constexpr NoiseKey kKey{0x0123456789abcdefu, 17, 3};

std::vector<double> Draw(NoiseKind kind, const NoiseKey& key, uint64_t first = 0) {
  std::vector<double> values(kElements);
  for (int i = 0; i < kElements; ++i) values[i] = NoiseAt(kind, key, first + i);
  return values;
}

double MeanOfPower(const std::vector<double>& values, int power) {
  double sum = 0;
  for (double value : values) sum += std::pow(value, power);
  return sum / values.size();
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum / a.size();
}

const double kFiveStandardErrors = 5 / std::sqrt(kElements);

class NoiseTest : public testing::TestWithParam<NoiseKind> {};

TEST_P(NoiseTest, MeanZeroVarianceOne) {
  const std::vector<double> values = Draw(GetParam(), kKey);
  EXPECT_LT(std::fabs(MeanOfPower(values, 1)), kFiveStandardErrors);
  EXPECT_LT(std::fabs(MeanOfPower(values, 2) - 1), kFiveStandardErrors * std::sqrt(2.0));
}

TEST_P(NoiseTest, EachPartOfTheKeyMatters) {
  const std::vector<double> values = Draw(GetParam(), kKey);
  // Without a change the correlation is the variance: the measure would notice.
  EXPECT_GT(Correlation(values, Draw(GetParam(), kKey)), 0.98);
  for (NoiseKey other :
       {NoiseKey{kKey.seed + 1, 17, 3}, NoiseKey{kKey.seed ^ (1ull << 63), 17, 3},
        NoiseKey{kKey.seed, 18, 3}, NoiseKey{kKey.seed, 17, 4}, NoiseKey{kKey.seed, 3, 17}}) {
    EXPECT_LT(std::fabs(Correlation(values, Draw(GetParam(), other))), kFiveStandardErrors)
        << other.seed << " " << other.step << " " << other.member;
  }
}

TEST_P(NoiseTest, NeighboursAreIndependent) {
  const std::vector<double> values = Draw(GetParam(), kKey);
  // Within a pair of normals, within a word, across words and across groups.
  for (uint64_t lag : {1, 2, 31, 32, 64, 127, 128, 4096}) {
    EXPECT_LT(std::fabs(Correlation(values, Draw(GetParam(), kKey, lag))), kFiveStandardErrors)
        << lag;
  }
}

TEST_P(NoiseTest, ElementsBeyond32BitsAreNew) {
  const std::vector<double> values = Draw(GetParam(), kKey);
  for (uint64_t first : {uint64_t{1} << 32, uint64_t{1} << 39, uint64_t{1} << 50}) {
    EXPECT_LT(std::fabs(Correlation(values, Draw(GetParam(), kKey, first))), kFiveStandardErrors);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, NoiseTest,
                         testing::Values(NoiseKind::kRademacher, NoiseKind::kNormal),
                         [](const testing::TestParamInfo<NoiseKind>& info) {
                           return info.param == NoiseKind::kNormal ? "Normal" : "Rademacher";
                         });

TEST(RademacherNoiseTest, IsPlusOrMinusOneByItsBit) {
  for (uint64_t element : {0, 1, 31, 32, 127, 128, 1000}) {
    const PhiloxBlock bits = RademacherBits(kKey, element / 128);
    const bool set = (bits.word[element % 128 / 32] >> (element % 32)) & 1;
    EXPECT_EQ(NoiseAt(NoiseKind::kRademacher, kKey, element), set ? -1.0 : 1.0);
  }
}

TEST(NormalNoiseTest, IsBoxMuller) {
  for (uint64_t pair = 0; pair < 20'000; ++pair) {
    const PhiloxBlock bits = NoiseBits(philox_domain::kNormal, kKey, pair);
    const auto uniform = [](uint32_t high, uint32_t low) {
      return static_cast<long double>((uint64_t{high & 0xFFFFF} << 32) | low) * 0x1p-52L;
    };
    const long double radius =
        std::sqrt(-2 * std::log(uniform(bits.word[1], bits.word[0]) + 0x1p-53L));
    const long double angle =
        6.283185307179586476925286766559L * uniform(bits.word[3], bits.word[2]);
    const double even = NoiseAt(NoiseKind::kNormal, kKey, 2 * pair);
    const double odd = NoiseAt(NoiseKind::kNormal, kKey, 2 * pair + 1);
    ASSERT_NEAR(even, static_cast<double>(radius * std::cos(angle)), 1e-13);
    ASSERT_NEAR(odd, static_cast<double>(radius * std::sin(angle)), 1e-13);
  }
}

TEST(NormalNoiseTest, HigherMoments) {
  const std::vector<double> values = Draw(NoiseKind::kNormal, kKey);
  EXPECT_LT(std::fabs(MeanOfPower(values, 3)), kFiveStandardErrors * std::sqrt(15.0));
  EXPECT_LT(std::fabs(MeanOfPower(values, 4) - 3), kFiveStandardErrors * std::sqrt(96.0));
}

TEST(NormalNoiseTest, KolmogorovSmirnov) {
  std::vector<double> values = Draw(NoiseKind::kNormal, kKey);
  std::sort(values.begin(), values.end());
  double distance = 0;
  for (int i = 0; i < kElements; ++i) {
    const double expected = 0.5 * std::erfc(-values[i] / std::sqrt(2.0));
    distance = std::max({distance, std::fabs(expected - static_cast<double>(i) / kElements),
                         std::fabs(expected - static_cast<double>(i + 1) / kElements)});
  }
  EXPECT_LT(distance, 1.95 / std::sqrt(kElements));  // exceeded by one sample in a thousand
  EXPECT_GT(values.back(), 4);
  EXPECT_LT(values.front(), -4);
}

// Checkpoints and the logs of running jobs rely on these numbers.
TEST(NoiseValuesTest, NeverChange) {
  const NoiseKey key{42, 7, 5};
  const double signs[] = {-1, -1, 1, -1, 1, -1, -1, 1};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(NoiseAt(NoiseKind::kRademacher, key, 1000 + i), signs[i]);
  EXPECT_EQ(NoiseAt(NoiseKind::kNormal, key, 0), 0x1.7f720a90dbcfep-2);
  EXPECT_EQ(NoiseAt(NoiseKind::kNormal, key, 1), 0x1.177e6047e0e42p-1);
  EXPECT_EQ(NoiseAt(NoiseKind::kNormal, key, 123456789012), -0x1.6c5fd413da61dp-1);
}

}  // namespace
}  // namespace evograd
