// Goal: a rank that is killed while others wait for it, or while it waits itself, looks to each as
// a dead process would. Method: ranks on threads; Kill() from outside. All else is in
// conformance_test.cc.
#include "worker/collective/in_process_communicator.h"

#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "worker/collective/testing/run_ranks.h"

namespace evograd {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);

absl::Status Gather(Communicator& communicator) {
  std::vector<int> all(communicator.size());
  const int mine = communicator.rank();
  return communicator.AllGather(&mine, all.data(), sizeof mine);
}

TEST(InProcessCommunicator, AKilledRankIsGoneForTheOthersAndAbortedForItself) {
  for (const bool kill : {false, true}) {
    auto ranks = InProcessCommunicator::CreateGroup(4, kLong);
    std::vector<absl::Status> statuses(4);
    const absl::Time start = absl::Now();
    // Rank 3's thread kills rank 2, which may be waiting by then, and never comes itself; or all
    // come.
    RunRanks(4, [&](int rank) {
      if (kill && rank == 3) {
        ranks[2]->Kill();
      } else {
        statuses[rank] = Gather(*ranks[rank]);
      }
    });
    EXPECT_LT(absl::Now() - start, absl::Seconds(5));
    const absl::StatusCode others = kill ? absl::StatusCode::kUnavailable : absl::StatusCode::kOk;
    EXPECT_EQ(statuses[0].code(), others);
    EXPECT_EQ(statuses[1].code(), others);
    EXPECT_EQ(statuses[2].code(), kill ? absl::StatusCode::kAborted : absl::StatusCode::kOk);
    EXPECT_EQ(statuses[0].message(), kill ? "rank 2 is gone" : "");
  }
}

TEST(InProcessCommunicator, ALoneRankNeverWaits) {
  auto ranks = InProcessCommunicator::CreateGroup(1, absl::ZeroDuration());
  EXPECT_EQ(Gather(*ranks[0]), absl::OkStatus());
  ranks[0]->Abort();
  EXPECT_EQ(Gather(*ranks[0]).code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace evograd
