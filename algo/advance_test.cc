// Goal: Advance is a pure, total function whose state is untouched on error; checksums and encoded
// bytes tell states apart. Method: properties over seeded random states, every byte damaged, values
// held fast.
#include "algo/advance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>

namespace evograd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

OptimizerConfig Config(OptimizerKind kind, double momentum = 0) {
  OptimizerConfig config;
  config.kind = kind;
  config.momentum = momentum;
  config.learning_rate = 0.125;
  return config;
}

const OptimizerConfig kConfigs[] = {Config(OptimizerKind::kSgd), Config(OptimizerKind::kSgd, 0.9),
                                    Config(OptimizerKind::kAdam), Config(OptimizerKind::kAdamW)};

std::vector<double> RandomVector(std::mt19937_64& random, size_t size) {
  std::normal_distribution<double> normal;
  std::vector<double> values(size);
  for (double& value : values) value = normal(random);
  return values;
}

// A state after a few steps.
HyperState RandomState(std::mt19937_64& random, const OptimizerConfig& config, size_t size) {
  HyperState state = InitialHyperState(RandomVector(random, size), config);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Advance(config, RandomVector(random, size), &state).ok());
  }
  return state;
}

// Bit for bit.
void ExpectEqual(const HyperState& a, const HyperState& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.values, b.values);
  EXPECT_EQ(a.first_moment, b.first_moment);
  EXPECT_EQ(a.second_moment, b.second_moment);
  EXPECT_EQ(Checksum(a), Checksum(b));
}

TEST(NormTest, IsEuclideanAndSummedInOrder) {
  EXPECT_EQ(Norm({}), 0);
  EXPECT_EQ(Norm({3.0, -4.0}), 5);
  // After 2^54 a 1 is lost, however many follow; before it they add up.
  constexpr double kLarge = 1 << 27;
  std::vector<double> values(65, 1.0);
  values.front() = kLarge;
  EXPECT_EQ(Norm(values), kLarge);
  std::swap(values.front(), values.back());
  EXPECT_GT(Norm(values), kLarge);
}

TEST(AdvanceTest, SgdByHand) {
  const OptimizerConfig config = Config(OptimizerKind::kSgd, 0.5);
  HyperState state = InitialHyperState({1.0, -2.0}, config);
  ASSERT_TRUE(Advance(config, {8.0, 0.0}, &state).ok());
  EXPECT_EQ(state.values, (std::vector<double>{0.0, -2.0}));
  ASSERT_TRUE(Advance(config, {8.0, 16.0}, &state).ok());
  EXPECT_EQ(state.values, (std::vector<double>{-1.5, -4.0}));
  EXPECT_EQ(state.first_moment, (std::vector<double>{12.0, 16.0}));
  EXPECT_EQ(state.step, 2);
}

TEST(AdvanceTest, AdamsFirstStepIsTheLearningRate) {
  const OptimizerConfig config = Config(OptimizerKind::kAdam);
  HyperState state = InitialHyperState({1.0, 1.0, 1.0}, config);
  ASSERT_TRUE(Advance(config, {1e-3, -5.0, 0.0}, &state).ok());
  EXPECT_NEAR(state.values[0], 1 - 0.125, 1e-5);
  EXPECT_NEAR(state.values[1], 1 + 0.125, 1e-8);
  EXPECT_EQ(state.values[2], 1);
}

TEST(AdvanceTest, IsAPureFunctionOfItsArguments) {
  std::mt19937_64 random(1);
  for (const OptimizerConfig& config : kConfigs) {
    for (size_t size : {0, 1, 7, 100}) {
      const HyperState state = RandomState(random, config, size);
      const std::vector<double> gradient = RandomVector(random, size);
      HyperState once = state;
      HyperState again = state;
      ASSERT_TRUE(Advance(config, gradient, &once).ok());
      ASSERT_TRUE(Advance(config, gradient, &again).ok());
      ExpectEqual(once, again);
      EXPECT_EQ(once.step, state.step + 1);
      EXPECT_NE(Checksum(once), Checksum(state));
    }
  }
}

TEST(AdvanceTest, HyperparametersDoNotTouchEachOther) {
  std::mt19937_64 random(2);
  for (const OptimizerConfig& config : kConfigs) {
    const HyperState state = RandomState(random, config, 10);
    std::vector<double> gradient = RandomVector(random, 10);
    HyperState before = state;
    ASSERT_TRUE(Advance(config, gradient, &before).ok());
    gradient[4] += 1;
    HyperState after = state;
    ASSERT_TRUE(Advance(config, gradient, &after).ok());
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(before.values[i] == after.values[i], i != 4) << i;
  }
}

TEST(AdvanceTest, NamesTheNumberThatIsNotFinite) {
  std::mt19937_64 random(3);
  for (const OptimizerConfig& config : kConfigs) {
    for (double bad : {kInfinity, -kInfinity, std::nan("")}) {
      HyperState state = RandomState(random, config, 10);
      const HyperState before = state;
      std::vector<double> gradient = RandomVector(random, 10);
      gradient[7] = bad;
      const absl::Status status = Advance(config, gradient, &state);
      EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
      EXPECT_NE(status.message().find("hyperparameter 7"), absl::string_view::npos) << status;
      ExpectEqual(state, before);
      gradient[7] = 0;
      EXPECT_TRUE(Advance(config, gradient, &state).ok());
    }
  }
}

TEST(AdvanceTest, RefusesToOverflow) {
  for (const OptimizerConfig& config : kConfigs) {
    HyperState state = InitialHyperState({1.0, 1.0}, config);
    const HyperState before = state;
    std::vector<double> gradient = {0.0, 1e308};
    if (config.kind == OptimizerKind::kSgd) {
      state.values[1] = -1.79e308;
      gradient[1] = 1.7e308;
    }
    const HyperState start = state;
    const absl::Status status = Advance(config, gradient, &state);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_NE(status.message().find("Hyperparameter 1 "), absl::string_view::npos) << status;
    ExpectEqual(state, start);
    EXPECT_TRUE(Advance(config, {0.0, 1e100}, &state).ok());
  }
}

TEST(AdvanceTest, RefusesSizesThatDoNotFit) {
  std::mt19937_64 random(4);
  for (const OptimizerConfig& config : kConfigs) {
    HyperState state = RandomState(random, config, 4);
    const HyperState before = state;
    for (size_t size : {0, 3, 5}) {
      EXPECT_EQ(Advance(config, RandomVector(random, size), &state).code(),
                absl::StatusCode::kInvalidArgument);
    }
    ExpectEqual(state, before);
    EXPECT_TRUE(Advance(config, RandomVector(random, 4), &state).ok());
  }
  HyperState of_sgd = InitialHyperState({1.0}, kConfigs[0]);
  EXPECT_EQ(Advance(kConfigs[2], {1.0}, &of_sgd).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ChecksumTest, SeesEveryBitAndTheArrays) {
  std::mt19937_64 random(5);
  HyperState state = RandomState(random, Config(OptimizerKind::kAdam), 3);
  std::set<uint64_t> seen = {Checksum(state)};
  ++state.step;
  seen.insert(Checksum(state));
  for (auto* array : {&state.values, &state.first_moment, &state.second_moment}) {
    for (double& value : *array) {
      value = std::nextafter(value, kInfinity);
      seen.insert(Checksum(state));
    }
  }
  EXPECT_EQ(seen.size(), 11);
  // The same numbers in other arrays.
  EXPECT_NE(Checksum(HyperState{0, {1, 2}, {}, {}}), Checksum(HyperState{0, {1}, {2}, {}}));
  EXPECT_NE(Checksum(HyperState{0, {0.0}, {}, {}}), Checksum(HyperState{0, {-0.0}, {}, {}}));
}

TEST(EncodingTest, RoundTrip) {
  std::mt19937_64 random(6);
  for (const OptimizerConfig& config : kConfigs) {
    for (size_t size : {0, 1, 100}) {
      const HyperState state = RandomState(random, config, size);
      const absl::StatusOr<HyperState> decoded = DecodeHyperState(EncodeHyperState(state));
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      ExpectEqual(*decoded, state);
    }
  }
}

TEST(EncodingTest, EveryDamageIsFound) {
  std::mt19937_64 random(7);
  const std::string bytes = EncodeHyperState(RandomState(random, Config(OptimizerKind::kAdam), 2));
  ASSERT_TRUE(DecodeHyperState(bytes).ok());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] ^= static_cast<char>(1 << bit);
      EXPECT_EQ(DecodeHyperState(damaged).status().code(), absl::StatusCode::kDataLoss) << i;
    }
    EXPECT_EQ(DecodeHyperState(bytes.substr(0, i)).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(DecodeHyperState(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
}

// The log of a running job relies on these numbers, on any machine.
TEST(AdvanceValuesTest, NeverChange) {
  const OptimizerConfig config = Config(OptimizerKind::kAdamW);
  HyperState state = InitialHyperState({0.5, -1.25, 3.0}, config);
  for (int step = 0; step < 50; ++step) {
    const std::vector<double> gradient = {0.1 * (step % 7) - 0.3, 1.0 / (step + 1), -2.0};
    ASSERT_TRUE(Advance(config, gradient, &state).ok());
  }
  EXPECT_EQ(Checksum(state), 13037384672161300370u);
}

}  // namespace
}  // namespace evograd
