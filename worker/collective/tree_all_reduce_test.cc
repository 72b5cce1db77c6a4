// Goal: the all-reduce gives the bits of the one-rank tree on every rank, whatever the number of
// ranks, leaves and elements, and keeps no more vectors than it promises. Method: random leaves,
// in-process ranks, comparison with a tree summed by TreeSum over single leaves; a VectorOps that
// counts live buffers.
#include "worker/collective/tree_all_reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "gtest/gtest.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/collective/testing/run_ranks.h"

namespace evograd {
namespace {

template <typename T>
using Leaves = std::vector<std::vector<T>>;

template <typename T>
Leaves<T> RandomLeaves(int leaves, size_t count, int seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> mantissa(-1, 1), exponent(-10, 10);
  Leaves<T> values(leaves, std::vector<T>(count));
  for (auto& leaf : values) {
    for (T& x : leaf) x = static_cast<T>(std::ldexp(mantissa(random), exponent(random)));
  }
  return values;
}

template <typename T>
std::vector<T> Expected(Leaves<T> values) {
  std::vector<TreeNode> nodes;
  for (int i = 0; i < static_cast<int>(values.size()); ++i) nodes.push_back({i, i + 1});
  TreeSum(nodes.size(), nodes, &values, [](std::vector<T>& a, const std::vector<T>& b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  });
  return values[0];
}

// Counts the buffers that exist, and the most there were.
class CountingOps : public VectorOps {
 public:
  absl::StatusOr<std::shared_ptr<void>> Allocate(size_t bytes) override {
    absl::StatusOr<std::shared_ptr<void>> buffer = HostVectorOps().Allocate(bytes);
    most_ = std::max(most_, ++live_);
    ++allocations_;
    return std::shared_ptr<void>(buffer->get(), [this, keep = *buffer](void*) { --live_; });
  }
  absl::Status Add(void* into, const void* from, size_t count, ElementType type) override {
    return HostVectorOps().Add(into, from, count, type);
  }
  absl::Status Copy(void* to, const void* from, size_t bytes) override {
    return HostVectorOps().Copy(to, from, bytes);
  }
  int most() const { return most_; }
  int allocations() const { return allocations_; }

 private:
  int live_ = 0;
  int most_ = 0;
  int allocations_ = 0;
};

template <typename T>
absl::Status SumLeaves(TreeAccumulator& sum, const Leaves<T>& leaves, Communicator& communicator,
                       std::vector<T>* result) {
  for (int i = sum.slice().first; i < sum.slice().last; ++i) {
    std::vector<T> leaf = leaves[i];
    EVOGRAD_RETURN_IF_ERROR(sum.Add(leaf.data()));
    std::fill(leaf.begin(), leaf.end(), -1);
  }
  EVOGRAD_ASSIGN_OR_RETURN(const void* memory, sum.AllReduce(communicator));
  const T* numbers = static_cast<const T*>(memory);
  result->assign(numbers, numbers + result->size());
  return absl::OkStatus();
}

template <typename T>
void CheckAllSizes(ElementType type) {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    auto group = InProcessCommunicator::CreateGroup(ranks, absl::Seconds(30));
    for (int leaves = 1; leaves <= 9; ++leaves) {
      for (size_t count : {0, 1, 7, 1000, 30000, 30720}) {
        const Leaves<T> values = RandomLeaves<T>(leaves, count, leaves);
        const std::vector<T> expected = Expected(values);
        RunRanks(ranks, [&](int rank) {
          TreeAccumulator sum(&HostVectorOps(), type, leaves, rank, ranks, count);
          // Twice: the second sum finds the memory as the first one left it.
          for (int round = 0; round < 2; ++round) {
            std::vector<T> result(count);
            ASSERT_EQ(SumLeaves(sum, values, *group[rank], &result), absl::OkStatus());
            EXPECT_EQ(0, std::memcmp(result.data(), expected.data(), count * sizeof(T)))
                << leaves << " leaves of " << count << " on rank " << rank << " of " << ranks;
          }
          std::vector<T> mine, result(count);
          for (int i = sum.slice().first; i < sum.slice().last; ++i) {
            mine.insert(mine.end(), values[i].begin(), values[i].end());
          }
          ASSERT_EQ(TreeAllReduce(*group[rank], leaves, mine.data(), count, result.data()),
                    absl::OkStatus());
          EXPECT_EQ(result, expected);
        });
      }
    }
  }
}

TEST(TreeAllReduce, FloatsHaveTheSameBitsOnAnyNumberOfRanks) {
  CheckAllSizes<float>(ElementType::kFloat32);
}

TEST(TreeAllReduce, DoublesHaveTheSameBitsOnAnyNumberOfRanks) {
  CheckAllSizes<double>(ElementType::kFloat64);
}

TEST(TreeAllReduce, TheValuesTellOrdersApart) {
  // Else the tests above could not fail.
  const Leaves<float> values = RandomLeaves<float>(9, 1000, 9);
  std::vector<float> in_order(1000);
  for (const auto& leaf : values) {
    for (size_t i = 0; i < 1000; ++i) in_order[i] += leaf[i];
  }
  EXPECT_NE(in_order, Expected(values));
}

TEST(TreeAllReduce, HoldsFewVectorsAndKeepsThem) {
  // 64 leaves on 2 ranks: the last leaf meets five partial sums, and one vector more is received.
  auto group = InProcessCommunicator::CreateGroup(2, absl::Seconds(30));
  const Leaves<float> values = RandomLeaves<float>(64, 40000, 1);
  RunRanks(2, [&](int rank) {
    CountingOps ops;
    TreeAccumulator sum(&ops, ElementType::kFloat32, 64, rank, 2, 40000);
    for (int round = 0; round < 3; ++round) {
      std::vector<float> result(40000);
      ASSERT_EQ(SumLeaves(sum, values, *group[rank], &result), absl::OkStatus());
    }
    EXPECT_LE(ops.most(), 7);
    EXPECT_EQ(ops.allocations(), ops.most());
  });
}

TEST(TreeAllReduce, ARankWithoutLeavesKeepsItsMemoryToo) {
  auto group = InProcessCommunicator::CreateGroup(3, absl::Seconds(30));
  const Leaves<float> values = RandomLeaves<float>(2, 40000, 1);
  RunRanks(3, [&](int rank) {
    CountingOps ops;
    TreeAccumulator sum(&ops, ElementType::kFloat32, 2, rank, 3, 40000);
    for (int round = 0; round < 3; ++round) {
      std::vector<float> result(40000);
      ASSERT_EQ(SumLeaves(sum, values, *group[rank], &result), absl::OkStatus());
      EXPECT_EQ(result, Expected(values));
    }
    EXPECT_EQ(ops.allocations(), 2);
  });
}

TEST(TreeAllReduce, WritesIntoTheCallersMemory) {
  // 40000 needs padding for three ranks and none for two: both ways of writing the result.
  for (int ranks : {1, 2, 3}) {
    auto group = InProcessCommunicator::CreateGroup(ranks, absl::Seconds(30));
    const Leaves<float> values = RandomLeaves<float>(4, 40000, 1);
    RunRanks(ranks, [&](int rank) {
      TreeAccumulator sum(&HostVectorOps(), ElementType::kFloat32, 4, rank, ranks, 40000);
      for (int i = sum.slice().first; i < sum.slice().last; ++i) {
        ASSERT_EQ(sum.Add(values[i].data()), absl::OkStatus());
      }
      std::vector<float> result(40000 + 1, 5.0f);
      ASSERT_EQ(sum.AllReduce(*group[rank], result.data()), absl::OkStatus());
      EXPECT_EQ(result.back(), 5.0f) << "nothing is written behind the result";
      result.pop_back();
      EXPECT_EQ(result, Expected(values));
    });
  }
}

TEST(TreeAllReduce, AFailedExchangeLeavesAnAccumulatorThatCanBeCleared) {
  const Leaves<float> values = RandomLeaves<float>(2, 40000, 1);
  auto broken = InProcessCommunicator::CreateGroup(2, absl::Seconds(30));
  broken[1]->Kill();
  TreeAccumulator sum(&HostVectorOps(), ElementType::kFloat32, 2, 0, 2, 40000);
  std::vector<float> result(40000);
  EXPECT_EQ(SumLeaves(sum, values, *broken[0], &result).code(), absl::StatusCode::kUnavailable);
  sum.Clear();
  auto group = InProcessCommunicator::CreateGroup(2, absl::Seconds(30));
  RunRanks(2, [&](int rank) {
    TreeAccumulator other(&HostVectorOps(), ElementType::kFloat32, 2, 1, 2, 40000);
    std::vector<float> others(40000);
    EXPECT_EQ(
        SumLeaves(rank == 0 ? sum : other, values, *group[rank], rank == 0 ? &result : &others),
        absl::OkStatus());
  });
  EXPECT_EQ(result, Expected(values));
}

TEST(TreeAllReduceDeathTest, AMissingLeafEndsTheProcess) {
  auto group = InProcessCommunicator::CreateGroup(1, absl::Seconds(30));
  TreeAccumulator sum(&HostVectorOps(), ElementType::kFloat32, 2, 0, 1, 1);
  const float one = 1;
  ASSERT_EQ(sum.Add(&one), absl::OkStatus());
  EXPECT_DEATH((void)sum.AllReduce(*group[0]), "every leaf of the slice");
  ASSERT_EQ(sum.Add(&one), absl::OkStatus());
  EXPECT_EQ(sum.AllReduce(*group[0]).status(), absl::OkStatus());
}

}  // namespace
}  // namespace evograd
