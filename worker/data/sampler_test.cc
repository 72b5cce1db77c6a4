// Goal: every epoch holds each example once, in an order of its own, and any step's batch can be
// had alone. Method: several epochs' batches, of a size that does not divide the epoch, are joined
// and cut into epochs.
#include "worker/data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace evograd {
namespace {

TEST(BatchIndicesTest, EveryEpochHoldsEachExampleOnce) {
  constexpr int64_t kExamples = 50;
  constexpr int64_t kBatch = 8;
  std::vector<int64_t> joined;
  for (int64_t step = 0; step < 25; ++step) {
    const auto batch = BatchIndices(7, kExamples, kBatch, step);
    ASSERT_EQ(batch.size(), kBatch);
    joined.insert(joined.end(), batch.begin(), batch.end());
  }
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 4; ++epoch) {
    std::vector<int64_t> order(joined.begin() + epoch * kExamples,
                               joined.begin() + (epoch + 1) * kExamples);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < kExamples; ++i) EXPECT_EQ(order[i], i);
  }
  EXPECT_EQ(orders.size(), 4u) << "every epoch has an order of its own";
}

TEST(BatchIndicesTest, IsAPureFunctionOfSeedAndStep) {
  const auto batch = BatchIndices(1, 1000, 16, 123456789);
  EXPECT_EQ(BatchIndices(1, 1000, 16, 123456789), batch);
  EXPECT_NE(BatchIndices(2, 1000, 16, 123456789), batch);
  EXPECT_NE(BatchIndices(1, 1000, 16, 123456790), batch);
}

}  // namespace
}  // namespace evograd
