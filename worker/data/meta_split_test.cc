// Goal: the two sides of a split share no example, whatever the seed (the published code used two
// seeds, which put most meta images into the training set), and wishes that cannot be met are
// refused with their numbers. Method: a few hundred labels; the sides are counted.
#include "worker/data/meta_split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"

namespace evograd {
namespace {

// 30 of each of 4 classes, mixed.
std::vector<uint8_t> Labels() {
  std::vector<uint8_t> labels;
  for (int i = 0; i < 120; ++i) labels.push_back(i * 7 % 4);
  return labels;
}

TEST(SplitMetaTest, MetaImagesAreNeverTrainedOn) {
  const std::vector<uint8_t> labels = Labels();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto split = SplitMeta(labels, 4, 40, 0, seed, "/d/labels");
    ASSERT_TRUE(split.ok()) << split.status();
    EXPECT_EQ(split->meta.size(), 40u);
    EXPECT_EQ(split->train.size(), 80u);
    std::vector<int64_t> all = split->meta;
    all.insert(all.end(), split->train.begin(), split->train.end());
    std::sort(all.begin(), all.end());
    for (int64_t i = 0; i < 120; ++i) ASSERT_EQ(all[i], i) << "seed " << seed;
    std::vector<int> counts(4);
    for (const int64_t i : split->meta) ++counts[labels[i]];
    EXPECT_EQ(counts, std::vector<int>(4, 10));
    EXPECT_TRUE(std::is_sorted(split->meta.begin(), split->meta.end()));
    EXPECT_TRUE(std::is_sorted(split->train.begin(), split->train.end()));
  }
}

TEST(SplitMetaTest, TheSeedDecides) {
  const auto split = [](int64_t train, uint64_t seed) {
    return *SplitMeta(Labels(), 4, 40, train, seed, "/d/labels");
  };
  EXPECT_EQ(split(50, 3).meta, split(50, 3).meta);
  EXPECT_EQ(split(50, 3).train, split(50, 3).train);
  EXPECT_NE(split(50, 3).meta, split(50, 4).meta);
  EXPECT_NE(split(50, 3).train, split(50, 4).train);
  EXPECT_EQ(split(50, 3).meta, split(0, 3).meta) << "whatever is trained on";
  EXPECT_EQ(split(50, 3).train.size(), 50u);
  const std::vector<int64_t> all = split(0, 3).train;
  for (const int64_t i : split(50, 3).train) {
    EXPECT_TRUE(std::binary_search(all.begin(), all.end(), i)) << i;
  }
}

void ExpectRefused(int64_t meta, int64_t train, const std::string& part) {
  const absl::Status status = SplitMeta(Labels(), 4, meta, train, 1, "/d/labels").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), part)) << status << "\nlacks: " << part;
  EXPECT_TRUE(absl::StrContains(status.message(), "/d/labels")) << status;
}

TEST(SplitMetaTest, WishesThatCannotBeMetAreRefused) {
  const auto accepted = [](int64_t meta, int64_t train) {
    return SplitMeta(Labels(), 4, meta, train, 1, "/d/labels").ok();
  };
  ExpectRefused(42, 0, "42 cannot be shared equally by the 4 classes");
  EXPECT_TRUE(accepted(44, 0));
  ExpectRefused(124, 0, "124 are 31 of each class, but class 0 of /d/labels has only 30 images");
  ExpectRefused(120, 0, "train_examples: 1 is more than the 0 images");
  EXPECT_TRUE(accepted(116, 4));
  ExpectRefused(116, 5, "train_examples: 5 is more than the 4 images");
}

}  // namespace
}  // namespace evograd
