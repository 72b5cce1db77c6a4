// Goal: every implementation of Communicator moves the right bytes and fails as communicator.h
// says.
//
// Method: one suite over (implementation, number of ranks), each rank a thread. Every message has
// bytes of its own; every failure has a twin in which all ranks do their part. Skipped with NCCL
// where there are too few GPUs. Deaths of real processes are in process_death_test.cc.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "worker/collective/suspects.h"
#include "worker/collective/testing/implementations.h"
#include "worker/collective/testing/run_ranks.h"
#include "worker/collective/testing/test_memory.h"

namespace evograd {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);
constexpr absl::Duration kShort = absl::Milliseconds(500);
// Beyond the timeout, what communicator.h grants.
constexpr absl::Duration kGrace = absl::Seconds(5);

// Sizes around nothing, one number, odd ones, and beyond sockets' buffers.
const size_t kSizes[] = {0, 1, 4, 1001, (2 << 20) + 3};

// Random bytes, from another place on for each pair of ranks.
std::vector<char> Message(int from, int to, size_t bytes) {
  static const std::vector<char>& source = *[] {
    auto* random_bytes = new std::vector<char>(4 << 20);
    std::mt19937 random(1);
    for (char& byte : *random_bytes) byte = static_cast<char>(random());
    return random_bytes;
  }();
  const auto begin = source.begin() + from * 1000 + to;
  return {begin, begin + bytes};
}

// Messages from or to ranks 0, 1, …, one after the other.
std::vector<char> MessagesTo(int to, int ranks, size_t bytes) {
  std::vector<char> all;
  for (int from = 0; from < ranks; ++from) {
    const std::vector<char> message = Message(from, to, bytes);
    all.insert(all.end(), message.begin(), message.end());
  }
  return all;
}

std::vector<char> MessagesFrom(int from, int ranks, size_t bytes) {
  std::vector<char> all;
  for (int to = 0; to < ranks; ++to) {
    const std::vector<char> message = Message(from, to, bytes);
    all.insert(all.end(), message.begin(), message.end());
  }
  return all;
}

class Conformance : public testing::TestWithParam<std::tuple<Implementation, int>> {
 protected:
  void Make(absl::Duration timeout) {
    auto made = MakeRanks(std::get<0>(GetParam()), size(), timeout);
    if (made.status().code() == absl::StatusCode::kFailedPrecondition) {
      GTEST_SKIP() << made.status().message();
    }
    ASSERT_EQ(made.status(), absl::OkStatus());
    ranks_ = *std::move(made);
  }

  int size() const { return std::get<1>(GetParam()); }
  bool nccl() const { return std::get<0>(GetParam()) == Implementation::kNccl; }

  TestMemory Memory(int rank, const std::vector<char>& bytes) const {
    return TestMemory(nccl() ? Communicator::Memory::kCuda : Communicator::Memory::kHost, rank,
                      bytes);
  }

  // One all-gather of four bytes.
  absl::Status Gather(int rank, size_t bytes = 4) {
    const TestMemory memory = Memory(rank, std::vector<char>(size() * bytes));
    return ranks_[rank]->AllGather(memory.data() + rank * bytes, memory.data(), bytes);
  }

  Ranks ranks_;
};

TEST_P(Conformance, RanksKnowThemselves) {
  Make(kLong);
  if (IsSkipped()) return;
  for (int rank = 0; rank < size(); ++rank) {
    EXPECT_EQ(ranks_[rank]->rank(), rank);
    EXPECT_EQ(ranks_[rank]->size(), size());
    EXPECT_EQ(ranks_[rank]->memory() == Communicator::Memory::kCuda, nccl());
  }
}

TEST_P(Conformance, AllGatherBringsEveryBlockToItsPlace) {
  Make(kLong);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) {
    for (size_t bytes : kSizes) {
      const TestMemory send = Memory(rank, Message(rank, 0, bytes));
      const TestMemory receive = Memory(rank, std::vector<char>(size() * bytes));
      ASSERT_EQ(ranks_[rank]->AllGather(send.data(), receive.data(), bytes), absl::OkStatus());
      EXPECT_EQ(receive.Read(), MessagesTo(0, size(), bytes)) << bytes << " bytes";
      EXPECT_EQ(send.Read(), Message(rank, 0, bytes));
    }
  });
}

TEST_P(Conformance, AllGatherSendsFromWithinTheReceiver) {
  Make(kLong);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) {
    for (size_t bytes : {4, 1 << 20}) {
      // From its own block, and from the next rank's, which is overwritten meanwhile.
      for (int block : {rank, (rank + 1) % size()}) {
        std::vector<char> initial(size() * bytes);
        const std::vector<char> message = Message(rank, 0, bytes);
        std::copy(message.begin(), message.end(), initial.begin() + block * bytes);
        const TestMemory receive = Memory(rank, initial);
        ASSERT_EQ(ranks_[rank]->AllGather(receive.data() + block * bytes, receive.data(), bytes),
                  absl::OkStatus());
        EXPECT_EQ(receive.Read(), MessagesTo(0, size(), bytes)) << bytes << " bytes";
      }
    }
  });
}

TEST_P(Conformance, AllToAllBringsEveryBlockToItsPlace) {
  Make(kLong);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) {
    for (size_t bytes : kSizes) {
      const TestMemory send = Memory(rank, MessagesFrom(rank, size(), bytes));
      const TestMemory receive = Memory(rank, std::vector<char>(size() * bytes));
      ASSERT_EQ(ranks_[rank]->AllToAll(send.data(), receive.data(), bytes), absl::OkStatus());
      EXPECT_EQ(receive.Read(), MessagesTo(rank, size(), bytes)) << bytes << " bytes";
    }
  });
}

TEST_P(Conformance, BroadcastBringsAnyRootsBytes) {
  Make(kLong);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) {
    for (int root = 0; root < size(); ++root) {
      for (size_t bytes : kSizes) {
        const TestMemory data = Memory(rank, Message(rank, 0, bytes));
        ASSERT_EQ(ranks_[rank]->Broadcast(data.data(), bytes, root), absl::OkStatus());
        EXPECT_EQ(data.Read(), Message(root, 0, bytes)) << bytes << " bytes from " << root;
      }
    }
  });
}

TEST_P(Conformance, ManyCollectivesInARowKeepApart) {
  Make(kLong);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) {
    for (int round = 0; round < 200; ++round) {
      // The same sizes again and again: only their order tells them apart.
      const TestMemory data = Memory(rank, Message(rank, round, 64));
      const TestMemory all = Memory(rank, std::vector<char>(size() * 64));
      ASSERT_EQ(ranks_[rank]->AllGather(data.data(), all.data(), 64), absl::OkStatus());
      EXPECT_EQ(all.Read(), MessagesTo(round, size(), 64));
      ASSERT_EQ(ranks_[rank]->Broadcast(data.data(), 64, round % size()), absl::OkStatus());
      EXPECT_EQ(data.Read(), Message(round % size(), round, 64));
    }
  });
}

TEST_P(Conformance, WhoIsDoneMayLeaveAtOnce) {
  for (int round = 0; round < 3; ++round) {
    Make(kLong);
    if (IsSkipped()) return;
    RunRanks(size(), [&](int rank) {
      const size_t bytes = 1 << 20;
      const TestMemory send = Memory(rank, MessagesFrom(rank, size(), bytes));
      const TestMemory receive = Memory(rank, std::vector<char>(size() * bytes));
      ASSERT_EQ(ranks_[rank]->AllToAll(send.data(), receive.data(), bytes), absl::OkStatus());
      ranks_[rank] = nullptr;
      EXPECT_EQ(receive.Read(), MessagesTo(rank, size(), bytes));
    });
  }
}

// The kernel's letter for what a thread of this process does: S when it waits.
char StateOf(int thread) {
  std::ifstream file(absl::StrCat("/proc/self/task/", thread, "/stat"));
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');
  return name_end == std::string::npos ? '?' : text[name_end + 2];
}

class Failures : public Conformance {
 protected:
  // Runs `call` on all ranks but the last, and `last` on that one once the others wait (with NCCL:
  // once they began).
  std::vector<absl::Status> RunWithout(const std::function<absl::Status(int rank)>& call,
                                       const std::function<void()>& last) {
    std::vector<absl::Status> statuses(size());
    std::vector<std::atomic<int>> threads(size());
    std::atomic<bool> over{false};
    RunRanks(size(), [&](int rank) {
      if (rank < size() - 1) {
        threads[rank] = static_cast<int>(syscall(SYS_gettid));
        statuses[rank] = call(rank);
        threads[rank] = -1;
        return;
      }
      const auto waits = [&](int r) {
        return threads[r] != 0 && (nccl() || threads[r] == -1 || StateOf(threads[r]) == 'S');
      };
      for (int r = 0; r < size() - 1; ++r) {
        while (!waits(r)) std::this_thread::yield();
      }
      last();
    });
    return statuses;
  }

  // The last rank, which did not come or left; NCCL does not tell.
  void ExpectToSuspectTheLast(const std::vector<absl::Status>& statuses) {
    if (nccl()) return;
    const int last = size() - 1;
    for (int rank = 0; rank < last; ++rank) {
      EXPECT_EQ(Suspects(statuses[rank]), std::vector<int>{last}) << statuses[rank];
    }
  }

  void ExpectBroken(absl::StatusCode code, const std::vector<absl::Status>& statuses) {
    for (int rank = 0; rank < size() - 1; ++rank) {
      EXPECT_EQ(statuses[rank].code(), code) << statuses[rank];
      const absl::Time start = absl::Now();
      EXPECT_EQ(Gather(rank), statuses[rank]) << "a broken communicator keeps its error";
      const TestMemory memory = Memory(rank, std::vector<char>(2 * size()));
      EXPECT_EQ(ranks_[rank]->AllToAll(memory.data(), memory.data() + size(), 1), statuses[rank]);
      EXPECT_EQ(ranks_[rank]->Broadcast(memory.data(), 1, 0), statuses[rank]);
      EXPECT_LT(absl::Now() - start, absl::Seconds(1));
    }
  }
};

TEST_P(Failures, APeerThatDoesNotComeIsADeadline) {
  Make(kShort);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) { EXPECT_EQ(Gather(rank), absl::OkStatus()); });
  const absl::Time start = absl::Now();
  const auto statuses = RunWithout([&](int rank) { return Gather(rank); }, [] {});
  EXPECT_GE(absl::Now() - start, kShort);
  EXPECT_LT(absl::Now() - start, kShort + kGrace);
  ExpectBroken(absl::StatusCode::kDeadlineExceeded, statuses);
  ExpectToSuspectTheLast(statuses);
}

TEST_P(Failures, APeerThatCallsAnotherCollectiveIsADeadline) {
  Make(kShort);
  if (IsSkipped()) return;
  if (nccl()) GTEST_SKIP() << "NCCL does not compare what its ranks call";
  const int last = size() - 1;
  const absl::Time start = absl::Now();
  std::vector<absl::Status> statuses(size());
  RunRanks(size(), [&](int rank) { statuses[rank] = Gather(rank, rank == last ? 5 : 4); });
  EXPECT_LT(absl::Now() - start, kShort + kGrace);
  EXPECT_EQ(statuses[last].code(), absl::StatusCode::kDeadlineExceeded) << statuses[last];
  ExpectBroken(absl::StatusCode::kDeadlineExceeded, statuses);
}

TEST_P(Failures, AbortEndsARunningCollective) {
  Make(kLong);
  if (IsSkipped()) return;
  absl::Time start;
  const auto statuses = RunWithout([&](int rank) { return Gather(rank); },
                                   [&] {
                                     start = absl::Now();
                                     for (int r = 0; r < size() - 1; ++r) ranks_[r]->Abort();
                                   });
  EXPECT_LT(absl::Now() - start, kGrace);
  ExpectBroken(absl::StatusCode::kAborted, statuses);
}

TEST_P(Failures, AbortEndsALargeBroadcastFromARootThatDoesNotSend) {
  Make(kLong);
  if (IsSkipped()) return;
  const int root = size() - 1;
  const auto statuses = RunWithout(
      [&](int rank) {
        const TestMemory memory = Memory(rank, std::vector<char>(8 << 20));
        return ranks_[rank]->Broadcast(memory.data(), 8 << 20, root);
      },
      [&] {
        for (int r = 0; r < root; ++r) ranks_[r]->Abort();
      });
  ExpectBroken(absl::StatusCode::kAborted, statuses);
}

TEST_P(Failures, AfterAbortNothingBegins) {
  Make(kLong);
  if (IsSkipped()) return;
  EXPECT_EQ(std::vector<absl::Status>(size()),
            RunWithout([](int) { return absl::OkStatus(); }, [] {}));
  for (auto& rank : ranks_) rank->Abort();
  ExpectBroken(
      absl::StatusCode::kAborted,
      std::vector<absl::Status>(size(), absl::AbortedError("the communicator was aborted")));
}

TEST_P(Failures, APeerThatLeavesIsUnavailable) {
  Make(nccl() ? kShort : kLong);
  if (IsSkipped()) return;
  RunRanks(size(), [&](int rank) { EXPECT_EQ(Gather(rank), absl::OkStatus()); });
  absl::Time start;
  const auto statuses = RunWithout([&](int rank) { return Gather(rank, 3 << 20); },
                                   [&] {
                                     start = absl::Now();
                                     ranks_.back() = nullptr;
                                   });
  EXPECT_LT(absl::Now() - start, kGrace);
  for (int rank = 0; rank < size() - 1; ++rank) {
    if (nccl() && statuses[rank].code() == absl::StatusCode::kDeadlineExceeded) continue;
    EXPECT_EQ(statuses[rank].code(), absl::StatusCode::kUnavailable) << statuses[rank];
    EXPECT_NE(statuses[rank].message().find("rank"), std::string::npos) << statuses[rank];
    EXPECT_EQ(Gather(rank), statuses[rank]);
  }
  ExpectToSuspectTheLast(statuses);
}

TEST_P(Failures, WhoWaitsForTheRootSuspectsTheRoot) {
  Make(kShort);
  if (IsSkipped()) return;
  const int root = size() - 1;
  const auto statuses = RunWithout(
      [&](int rank) {
        const TestMemory memory = Memory(rank, std::vector<char>(64));
        return ranks_[rank]->Broadcast(memory.data(), 64, root);
      },
      [] {});
  for (int rank = 0; rank < root; ++rank) {
    EXPECT_EQ(statuses[rank].code(), absl::StatusCode::kDeadlineExceeded) << statuses[rank];
  }
  ExpectToSuspectTheLast(statuses);
}

TEST_P(Failures, AnAbortPointsAtNobody) {
  Make(kLong);
  if (IsSkipped()) return;
  const auto statuses = RunWithout([&](int rank) { return Gather(rank); },
                                   [&] {
                                     for (int r = 0; r < size() - 1; ++r) ranks_[r]->Abort();
                                   });
  for (const absl::Status& status : statuses) EXPECT_EQ(Suspects(status), std::vector<int>());
}

std::string NameOf(const testing::TestParamInfo<std::tuple<Implementation, int>>& info) {
  std::ostringstream name;
  name << std::get<0>(info.param) << std::get<1>(info.param);
  return name.str();
}

const auto kImplementations =
    testing::Values(Implementation::kInProcess, Implementation::kTcp, Implementation::kNccl);

INSTANTIATE_TEST_SUITE_P(All, Conformance,
                         testing::Combine(kImplementations, testing::Values(2, 3, 4)), NameOf);
// TCP has no use for a single rank.
INSTANTIATE_TEST_SUITE_P(Alone, Conformance,
                         testing::Combine(testing::Values(Implementation::kInProcess,
                                                          Implementation::kNccl),
                                          testing::Values(1)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(All, Failures, testing::Combine(kImplementations, testing::Values(2, 4)),
                         NameOf);

size_t Entries(const char* folder) {
  const std::filesystem::directory_iterator files(folder);
  return std::distance(begin(files), end(files));
}

TEST(Leaks, AHundredGroupsLeaveNoThreadAndNoSocket) {
  const auto cycle = [] {
    auto ranks = MakeRanks(Implementation::kTcp, 2, kLong);
    ASSERT_EQ(ranks.status(), absl::OkStatus());
    RunRanks(2, [&](int rank) {
      char all[2] = {};
      EXPECT_EQ((*ranks)[rank]->AllGather(all + rank, all, 1), absl::OkStatus());
      (*ranks)[rank] = nullptr;
    });
  };
  cycle();
  const size_t threads = Entries("/proc/self/task");
  const size_t files = Entries("/proc/self/fd");
  {
    auto ranks = MakeRanks(Implementation::kTcp, 2, kLong);
    EXPECT_EQ(Entries("/proc/self/task"), threads) << "nothing runs between collectives";
    EXPECT_GT(Entries("/proc/self/fd"), files) << "a leak of sockets would be seen";
  }
  for (int i = 0; i < 100; ++i) cycle();
  EXPECT_EQ(Entries("/proc/self/task"), threads);
  EXPECT_EQ(Entries("/proc/self/fd"), files);
}

}  // namespace
}  // namespace evograd
