// Goal: seeds of different purposes never meet, numbers are uniform, index orders are permutations
// that differ by epoch. Method: exhaustive for small sizes, chi-square over fixed seeds, values
// held fast.
#include "algo/seed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "algo/noise.h"

namespace evograd {
namespace {

TEST(DeriveSeedTest, EveryArgumentMatters) {
  std::set<uint64_t> seen;
  int drawn = 0;
  for (uint64_t seed : {0, 1, 2}) {
    for (uint32_t domain : {1, 2, 3}) {
      for (uint64_t a = 0; a < 20; ++a) {
        for (uint64_t b = 0; b < 20; ++b) {
          seen.insert(DeriveSeed(seed, domain, a, b));
          seen.insert(DeriveSeed(seed, domain, (a + 1) << 40, b));
          seen.insert(DeriveSeed(seed, domain, a, (b + 1) << 40));
          drawn += 3;
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), drawn);
  EXPECT_EQ(DeriveSeed(42, 3, 7, 5), DeriveSeed(42, 3, 7, 5));
}

TEST(DeriveSeedTest, SharesNoBlockWithNoise) {
  std::set<uint64_t> noise;
  for (uint32_t domain : {philox_domain::kRademacher, philox_domain::kNormal}) {
    for (uint32_t step = 0; step < 50; ++step) {
      for (uint32_t member = 0; member < 8; ++member) {
        for (uint64_t block = 0; block < 50; ++block) {
          const PhiloxBlock bits = NoiseBits(domain, {9, step, member}, block);
          noise.insert((uint64_t{bits.word[1]} << 32) | bits.word[0]);
        }
      }
    }
  }
  // A block of the noise itself is found.
  const PhiloxBlock known = NoiseBits(philox_domain::kNormal, {9, 1, 1}, 3);
  EXPECT_EQ(noise.count((uint64_t{known.word[1]} << 32) | known.word[0]), 1);
  CounterRng rng(9);
  for (uint64_t i = 0; i < 2000; ++i) {
    EXPECT_EQ(noise.count(rng.Next64()), 0);
    EXPECT_EQ(noise.count(DeriveSeed(9, i % 50, i % 8, i)), 0);
  }
}

TEST(CounterRngTest, BelowIsUniform) {
  constexpr int kDraws = 60'000;
  for (uint64_t bound : {1, 2, 3, 10, 1000}) {
    CounterRng rng(5);
    std::vector<int> counts(bound, 0);
    for (int i = 0; i < kDraws; ++i) {
      const uint64_t drawn = rng.Below(bound);
      ASSERT_LT(drawn, bound);
      ++counts[drawn];
    }
    double chi_square = 0;
    const double expected = static_cast<double>(kDraws) / bound;
    for (int count : counts) chi_square += (count - expected) * (count - expected) / expected;
    const double degrees = static_cast<double>(bound - 1);
    EXPECT_LE(chi_square, degrees + 5 * std::sqrt(2 * degrees) + 1e-9) << bound;
  }
}

TEST(CounterRngTest, LargeBoundsAreUnbiased) {
  // Of 3 * 2^62, a plain remainder would fall into the first third half of the time.
  CounterRng rng(6);
  int first_third = 0;
  for (int i = 0; i < 30'000; ++i)
    first_third += rng.Below(uint64_t{3} << 62) < (uint64_t{1} << 62);
  EXPECT_NEAR(first_third, 10'000, 5 * std::sqrt(30'000.0 * 2 / 9));
}

TEST(CounterRngTest, UniformLiesInTheUnitInterval) {
  CounterRng rng(7);
  double sum = 0;
  double sum_of_squares = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double drawn = rng.Uniform();
    ASSERT_GE(drawn, 0);
    ASSERT_LT(drawn, 1);
    sum += drawn;
    sum_of_squares += drawn * drawn;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(sum_of_squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
}

std::vector<uint64_t> Order(uint64_t seed, uint64_t epoch, uint64_t n) {
  std::vector<uint64_t> order(n);
  for (uint64_t i = 0; i < n; ++i) order[i] = PermutedIndex(seed, epoch, i, n);
  return order;
}

TEST(PermutedIndexTest, IsAPermutation) {
  for (uint64_t n : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4096, 4097}) {
    for (uint64_t epoch : {0, 1, 2}) {
      std::vector<bool> seen(n, false);
      for (uint64_t index : Order(11, epoch, n)) {
        ASSERT_LT(index, n);
        EXPECT_FALSE(seen[index]) << index << " twice among " << n;
        seen[index] = true;
      }
    }
  }
}

TEST(PermutedIndexTest, DiffersByEpochAndSeed) {
  constexpr uint64_t kSize = 1000;
  const std::vector<uint64_t> order = Order(11, 0, kSize);
  EXPECT_EQ(order, Order(11, 0, kSize));
  for (const auto& other :
       {Order(11, 1, kSize), Order(12, 0, kSize), Order(11, 1ull << 32, kSize)}) {
    int same = 0;
    for (uint64_t i = 0; i < kSize; ++i) same += order[i] == other[i];
    EXPECT_LE(same, 8);  // one on average, Poisson
  }
}

TEST(PermutedIndexTest, EachPositionMeetsEachIndexEquallyOften) {
  constexpr int kEpochs = 20'000;
  for (uint64_t n : {2, 5, 10, 16}) {
    std::vector<std::vector<int>> counts(n, std::vector<int>(n, 0));
    for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
      for (uint64_t i = 0; i < n; ++i) ++counts[i][PermutedIndex(13, epoch, i, n)];
    }
    const double expected = static_cast<double>(kEpochs) / n;
    for (uint64_t i = 0; i < n; ++i) {
      for (uint64_t j = 0; j < n; ++j) {
        EXPECT_NEAR(counts[i][j], expected, 5.5 * std::sqrt(expected))
            << i << " at " << j << " of " << n;
      }
    }
  }
}

TEST(PermutedIndexTest, LargeSizes) {
  constexpr uint64_t kSize = (uint64_t{1} << 40) + 12345;
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 2000; ++i) {
    const uint64_t index = PermutedIndex(14, 0, kSize - 1 - i, kSize);
    ASSERT_LT(index, kSize);
    seen.insert(index);
  }
  EXPECT_EQ(seen.size(), 2000);
}

// Running jobs rely on these numbers.
TEST(SeedValuesTest, NeverChange) {
  EXPECT_EQ(DeriveSeed(42, seed_domain::kTrainBatch, 7, 5), 0x7237a8fc5f5a9126u);
  EXPECT_EQ(CounterRng(42).Next64(), 0xe276a99451a347a9u);
  EXPECT_EQ(Order(42, 1, 10), (std::vector<uint64_t>{3, 1, 7, 2, 9, 8, 0, 5, 4, 6}));
}

}  // namespace
}  // namespace evograd
