// Goal: each kind's matrix is the published one, and labels are drawn from it as its rows say.
// Method: the flips of NumPy's random numbers were written down by tests/golden/label_noise.py; the
// other matrices are small or stated entry by entry; draws are counted against the rows within five
// standard deviations.
#include "worker/data/label_noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

std::map<std::string, std::vector<int>> Golden() {
  std::ifstream file("tests/golden/label_noise.txt");
  EXPECT_TRUE(file.is_open());
  std::map<std::string, std::vector<int>> lines;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (int number; words >> number;) lines[name].push_back(number);
  }
  return lines;
}

// Five classes in each of 20 coarse ones, spread as in the files: not in the order of numbers.
std::vector<int> Coarse() {
  std::vector<int> coarse;
  for (int label = 0; label < 100; ++label) coarse.push_back(label * 7 % 20);
  return coarse;
}

void ExpectRowsSumToOne(const NoiseMatrix& noise) {
  for (int clean = 0; clean < noise.classes(); ++clean) {
    double sum = 0;
    for (int given = 0; given < noise.classes(); ++given) {
      EXPECT_GE(noise.at(clean, given), 0);
      sum += noise.at(clean, given);
    }
    EXPECT_NEAR(sum, 1, 1e-12) << "row " << clean;
  }
}

TEST(LabelNoiseTest, UniformNoiseFallsOnAllClasses) {
  const NoiseMatrix noise = UniformNoise(4, 0.4);
  ExpectRowsSumToOne(noise);
  EXPECT_DOUBLE_EQ(noise.at(2, 2), 0.7);
  EXPECT_DOUBLE_EQ(noise.at(2, 0), 0.1);
}

TEST(LabelNoiseTest, FlipsAreThoseOfNumpy) {
  const auto golden = Golden();
  ASSERT_EQ(golden.size(), 12u);
  for (const int classes : {3, 10, 100}) {
    for (const int seed : {1, 5}) {
      for (const int targets : {1, 2}) {
        const std::string name = absl::StrCat("flip", targets, ".", classes, ".", seed);
        const std::vector<int>& chosen = golden.at(name);
        ASSERT_EQ(chosen.size(), classes * targets) << name;
        const NoiseMatrix noise = FlipNoise(classes, 0.4, targets, seed);
        ExpectRowsSumToOne(noise);
        for (int i = 0; i < chosen.size(); ++i) {
          EXPECT_DOUBLE_EQ(noise.at(i / targets, chosen[i]), 0.4 / targets) << name << " " << i;
        }
        for (int clean = 0; clean < classes; ++clean) {
          EXPECT_DOUBLE_EQ(noise.at(clean, clean), 0.6);
        }
      }
    }
  }
}

TEST(LabelNoiseTest, HierarchicalNoiseStaysWithinTheCoarseClass) {
  const std::vector<int> coarse = Coarse();
  const NoiseMatrix noise = HierarchicalNoise(coarse, 0.4);
  ExpectRowsSumToOne(noise);
  for (int clean = 0; clean < 100; ++clean) {
    for (int given = 0; given < 100; ++given) {
      const double expected = clean == given ? 0.6 : coarse[clean] == coarse[given] ? 0.1 : 0;
      EXPECT_DOUBLE_EQ(noise.at(clean, given), expected) << clean << " " << given;
    }
  }
  EXPECT_EQ(HierarchicalNoise({0, 1, 1}, 0.4).at(0, 0), 1) << "nowhere to go";
}

TEST(LabelNoiseTest, AsymmetricPairsAreThePublishedOnes) {
  const NoiseMatrix ten = Cifar10AsymmetricNoise(0.4);
  ExpectRowsSumToOne(ten);
  const std::map<int, int> pairs = {{9, 1}, {2, 0}, {4, 7}, {3, 5}, {5, 3}};
  for (int clean = 0; clean < 10; ++clean) {
    const auto pair = pairs.find(clean);
    EXPECT_DOUBLE_EQ(ten.at(clean, clean), pair == pairs.end() ? 1 : 0.6) << clean;
    if (pair == pairs.end()) continue;
    EXPECT_DOUBLE_EQ(ten.at(clean, pair->second), 0.4) << clean;
  }
  // Classes 1, 21, 41, 61 and 81 make up a coarse class.
  const NoiseMatrix hundred = Cifar100AsymmetricNoise(Coarse(), 0.3);
  ExpectRowsSumToOne(hundred);
  EXPECT_DOUBLE_EQ(hundred.at(1, 1), 0.7);
  EXPECT_DOUBLE_EQ(hundred.at(1, 21), 0.3);
  EXPECT_DOUBLE_EQ(hundred.at(61, 81), 0.3);
  EXPECT_DOUBLE_EQ(hundred.at(81, 1), 0.3);
}

TEST(LabelNoiseTest, CoarseClassesComeFromTheExamples) {
  const auto coarse = CoarseClasses({2, 0, 1, 2}, {7, 4, 4, 7}, 3, "/d/train.bin");
  ASSERT_TRUE(coarse.ok()) << coarse.status();
  EXPECT_EQ(*coarse, (std::vector<int>{4, 4, 7}));
  const absl::Status two = CoarseClasses({2, 0, 1, 2}, {7, 4, 4, 8}, 3, "/d/train.bin").status();
  EXPECT_EQ(two.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(
      two.message(), "/d/train.bin: record 3 of class 2 has coarse class 8, but an earlier one"))
      << two;
  const absl::Status none = CoarseClasses({2, 0, 2}, {7, 4, 7}, 3, "/d/train.bin").status();
  EXPECT_EQ(none.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(none.message(), "no example of class 1")) << none;
}

TEST(LabelNoiseTest, LabelsAreDrawnFromTheRows) {
  constexpr int kDraws = 20000;
  const NoiseMatrix noise = FlipNoise(10, 0.4, 2, 1);
  for (const int clean : {0, 9}) {
    std::vector<int> counts(10);
    for (int example = 0; example < kDraws; ++example) {
      ++counts[NoisyLabel(noise, clean, 3, example)];
    }
    for (int given = 0; given < 10; ++given) {
      const double p = noise.at(clean, given);
      EXPECT_NEAR(counts[given], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)))
          << clean << " to " << given;
    }
  }
}

TEST(LabelNoiseTest, LabelsArePureFunctionsOfTheSeedAndTheExample) {
  const NoiseMatrix noise = UniformNoise(10, 1);
  int same = 0;
  for (int example = 0; example < 1000; ++example) {
    const uint8_t label = NoisyLabel(noise, 4, 3, example);
    EXPECT_EQ(label, NoisyLabel(noise, 4, 3, example));
    same += label == NoisyLabel(noise, 4, 4, example);
  }
  EXPECT_NEAR(same, 100, 50) << "another seed draws others";
  EXPECT_EQ(NoisyLabel(NoiseMatrix(10), 4, 3, 0), 4) << "without noise";
}

}  // namespace
}  // namespace evograd
