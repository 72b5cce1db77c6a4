// Goal: SGD, Adam and AdamW are torch.optim's. Method: 100 steps against the numbers of
// tests/golden/optimizers.py, whose rule for gradients is repeated here.
#include "algo/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace evograd {
namespace {

constexpr int kSize = 5;

struct GoldenRun {
  std::string name;
  std::string type;
  OptimizerConfig config;
  std::vector<std::pair<int, std::vector<double>>> theta;  // after so many steps
};

std::vector<GoldenRun> ReadRuns() {
  std::ifstream in("tests/golden/optimizers.txt");
  std::vector<GoldenRun> runs;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "run") {
      runs.emplace_back();
      GoldenRun& run = runs.back();
      std::string kind;
      words >> run.name >> run.type >> kind;
      OptimizerConfig& config = run.config;
      config.kind = kind == "sgd"    ? OptimizerKind::kSgd
                    : kind == "adam" ? OptimizerKind::kAdam
                                     : OptimizerKind::kAdamW;
      words >> config.learning_rate >> config.momentum >> config.nesterov >> config.weight_decay >>
          config.beta1 >> config.beta2 >> config.epsilon >> config.max_gradient_norm >>
          config.schedule.warmup_steps >> config.schedule.linear_to_zero_at_step >>
          config.schedule.decay_factor;
      EXPECT_TRUE(words) << line;
      int64_t step;
      while (words >> step) config.schedule.decay_steps.push_back(step);
    } else if (word == "theta") {
      int steps = 0;
      words >> steps;
      runs.back().theta.emplace_back(steps, std::vector<double>());
      while (words >> word) {
        runs.back().theta.back().second.push_back(std::strtod(word.c_str(), nullptr));
      }
    }
  }
  return runs;
}

template <typename T>
T GradientAt(int step, int element) {
  return static_cast<T>((7919 * (kSize * step + element + 1) % 2003 - 1001) / 256.0 /
                        std::pow(16.0, element));
}

// The largest error of theta over the run, relative to the larger of 1e-3 and theta.
template <typename T>
double LargestError(const GoldenRun& run, const OptimizerConfig& config) {
  T theta[kSize];
  T first[kSize] = {};
  T second[kSize] = {};
  double largest = 0;
  int step = 0;
  for (const auto& [steps, expected] : run.theta) {
    if (steps == 0) std::copy(expected.begin(), expected.end(), theta);
    for (; step < steps; ++step) {
      const OptimizerRule<T> rule = MakeOptimizerRule<T>(config, step);
      double squares = 0;
      for (int i = 0; i < kSize; ++i) squares += std::pow(GradientAt<double>(step, i), 2);
      const double clip = ClipFactor(std::sqrt(squares), config.max_gradient_norm);
      for (int i = 0; i < kSize; ++i) {
        const T gradient = static_cast<T>(clip) * GradientAt<T>(step, i);
        UpdateElement(rule, gradient, &theta[i], &first[i], &second[i]);
      }
    }
    for (int i = 0; i < kSize; ++i) {
      const double scale = std::max(std::fabs(expected[i]), 1e-3);
      largest = std::max(largest, std::fabs(theta[i] - expected[i]) / scale);
    }
  }
  return largest;
}

TEST(OptimizerTest, AgreesWithTorch) {
  const std::vector<GoldenRun> runs = ReadRuns();
  ASSERT_EQ(runs.size(), 24u);
  for (const GoldenRun& run : runs) {
    ASSERT_EQ(run.theta.back().first, 100) << run.name;
    if (run.type == "float32") {
      EXPECT_LT(LargestError<float>(run, run.config), 1e-5) << run.name;
    } else {
      EXPECT_LT(LargestError<double>(run, run.config), 1e-12) << run.name;
    }
  }
}

// The comparison would notice each setting.
TEST(OptimizerTest, EachSettingMatters) {
  for (const GoldenRun& run : ReadRuns()) {
    if (run.type == "float32") continue;
    OptimizerConfig other = run.config;
    other.learning_rate *= 1.001;
    EXPECT_GT(LargestError<double>(run, other), 1e-6) << run.name;
    other = run.config;
    other.weight_decay += 1e-4;
    EXPECT_GT(LargestError<double>(run, other), 1e-9) << run.name;
    other = run.config;
    other.schedule.warmup_steps += 2;
    EXPECT_GT(LargestError<double>(run, other), 1e-6) << run.name;
    other = run.config;
    other.schedule.decay_steps.push_back(90);
    EXPECT_GT(LargestError<double>(run, other),
              run.config.schedule.linear_to_zero_at_step ? 0 : 1e-6)
        << run.name;
    if (run.config.kind == OptimizerKind::kSgd) {
      if (run.config.momentum == 0) continue;
      other = run.config;
      other.nesterov = !other.nesterov;
      EXPECT_GT(LargestError<double>(run, other), 1e-6) << run.name;
      continue;
    }
    other = run.config;
    other.beta1 += 1e-4;
    EXPECT_GT(LargestError<double>(run, other), 1e-9) << run.name;
    other = run.config;
    other.beta2 += 1e-5;
    EXPECT_GT(LargestError<double>(run, other), 1e-9) << run.name;
    other = run.config;
    other.epsilon *= 2;
    EXPECT_GT(LargestError<double>(run, other), 1e-9) << run.name;
  }
}

TEST(ScheduleTest, FactorsMultiply) {
  Schedule schedule;
  EXPECT_EQ(ScheduleFactor(schedule, 0), 1);
  schedule.warmup_steps = 4;
  schedule.decay_steps = {3, 6};
  schedule.decay_factor = 0.5;
  EXPECT_EQ(ScheduleFactor(schedule, 0), 0);
  EXPECT_EQ(ScheduleFactor(schedule, 2), 0.5);
  EXPECT_EQ(ScheduleFactor(schedule, 3), 0.375);
  EXPECT_EQ(ScheduleFactor(schedule, 5), 0.5);
  EXPECT_EQ(ScheduleFactor(schedule, 6), 0.25);
  schedule.linear_to_zero_at_step = 12;
  EXPECT_EQ(ScheduleFactor(schedule, 8), 0.125);
  EXPECT_EQ(ScheduleFactor(schedule, 12), 0);
  EXPECT_EQ(ScheduleFactor(schedule, 1'000'000), 0);
}

TEST(ClipFactorTest, ShortensLongGradientsOnly) {
  EXPECT_EQ(ClipFactor(100, 0), 1);
  EXPECT_EQ(ClipFactor(0.5, 1), 1);
  EXPECT_NEAR(ClipFactor(4, 1), 0.25, 1e-6);
}

TEST(OptimizerTest, Slots) {
  OptimizerConfig config;
  config.kind = OptimizerKind::kSgd;
  EXPECT_EQ(OptimizerSlots(config), 0);
  config.momentum = 0.9;
  EXPECT_EQ(OptimizerSlots(config), 1);
  config.kind = OptimizerKind::kAdam;
  EXPECT_EQ(OptimizerSlots(config), 2);
  config.kind = OptimizerKind::kAdamW;
  EXPECT_EQ(OptimizerSlots(config), 2);
}

TEST(IntegerPowerTest, AgreesWithPow) {
  for (double base : {0.0, 0.4, 0.9, 0.999, 1.0}) {
    for (int64_t n : {1, 2, 3, 10, 1000, 100'000}) {
      const double expected = std::pow(base, static_cast<double>(n));
      EXPECT_NEAR(IntegerPower(base, n), expected, 1e-12 * expected + 1e-300) << base << " " << n;
    }
  }
  EXPECT_EQ(IntegerPower(0.999, int64_t{1} << 31), 0);
}

}  // namespace
}  // namespace evograd
