// Goal: the functions are accurate over all that their callers give them. Method: against libm in
// long double at seeded random arguments, at the ends, and at exact values.
#include "algo/portable_math.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>
#include <random>

namespace evograd {
namespace {

constexpr double kTolerance = 1e-14;
constexpr long double kTwoPi = 6.283185307179586476925286766559L;
constexpr uint64_t kTurn = uint64_t{1} << 52;

double RelativeError(double got, long double want) {
  return static_cast<double>(std::fabs((got - want) / want));
}

TEST(PortableMathTest, Logarithm) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-1020, 1020);
  for (int i = 0; i < 200'000; ++i) {
    // Half of them close to 1, where the logarithm is small.
    const double x = i % 2 ? std::exp2(exponent(random)) : 1 + exponent(random) / 1e6;
    if (x == 1) continue;
    ASSERT_LT(RelativeError(PortableLog(x), std::log(static_cast<long double>(x))), kTolerance)
        << x;
  }
  for (double x : {DBL_MIN, 0x1p-53, 0.5, 1 - 0x1p-53, 1 + 0x1p-52, 2.0, DBL_MAX}) {
    EXPECT_LT(RelativeError(PortableLog(x), std::log(static_cast<long double>(x))), kTolerance)
        << x;
  }
  EXPECT_EQ(PortableLog(1), 0);
}

TEST(PortableMathTest, Exponential) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> wide(-708, 709);
  std::uniform_real_distribution<double> narrow(-1, 1);
  for (int i = 0; i < 200'000; ++i) {
    const double x = i % 2 ? wide(random) : narrow(random);
    ASSERT_LT(RelativeError(PortableExp(x), std::exp(static_cast<long double>(x))), kTolerance)
        << x;
  }
  EXPECT_EQ(PortableExp(0), 1);
  EXPECT_EQ(PortableExp(-0.0), 1);
  EXPECT_EQ(PortableExp(-1000), 0);
  EXPECT_EQ(PortableExp(-std::numeric_limits<double>::infinity()), 0);
  EXPECT_EQ(PortableExp(1000), std::numeric_limits<double>::infinity());
  EXPECT_GT(PortableExp(-740), 0);  // subnormal
  EXPECT_LT(PortableExp(-740), DBL_MIN);
}

TEST(PortableMathTest, SineAndCosine) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t n = random() % kTurn;
    const long double angle = kTwoPi * n / kTurn;
    const SineCosine got = PortableSineCosine(n);
    // Absolute: no caller sees an error relative to a value near 0.
    ASSERT_LT(std::fabs(static_cast<double>(got.sine - std::sin(angle))), 1e-15) << n;
    ASSERT_LT(std::fabs(static_cast<double>(got.cosine - std::cos(angle))), 1e-15) << n;
  }
}

TEST(PortableMathTest, QuarterTurnsAreExact) {
  const double sines[] = {0, 1, 0, -1};
  for (uint64_t quarter = 0; quarter < 4; ++quarter) {
    const SineCosine got = PortableSineCosine(quarter * (kTurn / 4));
    EXPECT_EQ(got.sine, sines[quarter]);
    EXPECT_EQ(got.cosine, sines[(quarter + 1) % 4]);
  }
  // The last angle lies just below a whole turn.
  const SineCosine last = PortableSineCosine(kTurn - 1);
  EXPECT_EQ(last.cosine, 1);
  EXPECT_LT(RelativeError(last.sine, -kTwoPi / kTurn), kTolerance);
}

TEST(PortableMathTest, SmallIntegers) {
  for (uint64_t n : {uint64_t{0}, uint64_t{1}, kTurn / 2 + 1, kTurn - 1}) {
    EXPECT_EQ(SmallIntegerToDouble(n), static_cast<double>(n));
  }
}

}  // namespace
}  // namespace evograd
