// Goal: ranks that cannot find, reach or trust each other are told so in time; a timeout on one is
// no death to another. Method: groups of threads over 127.0.0.1 with a rendezvous that holds back
// or falsifies single entries. That groups which are left alone connect is shown by
// conformance_test.cc.
#include "worker/collective/gloo_communicator.h"

#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "worker/collective/in_memory_rendezvous.h"
#include "worker/collective/testing/run_ranks.h"

namespace evograd {
namespace {

constexpr absl::Duration kShort = absl::Milliseconds(300);
constexpr absl::Duration kGrace = absl::Seconds(5);

CommunicatorOptions OptionsOf(int rank, int size) {
  CommunicatorOptions options;
  options.rank = rank;
  options.size = size;
  options.interface_address = "127.0.0.1";
  return options;
}

// One rank's view of a shared table: some entries read otherwise, one never comes.
class BentRendezvous : public Rendezvous {
 public:
  explicit BentRendezvous(InMemoryRendezvous& table) : table_(table) {}

  absl::Status Put(const std::string& key, const std::string& value) override {
    return table_.Put(key, value);
  }
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Time deadline) override {
    if (key == missing) return table_.Wait("never put", deadline);
    auto value = table_.Wait(key, deadline);
    if (value.ok() && key == announced && !read.HasBeenNotified()) read.Notify();
    const auto other = replaced.find(key);
    return other == replaced.end() ? value : other->second;
  }
  bool Ended() const override { return table_.Ended(); }

  std::string missing;
  std::map<std::string, std::string> replaced;
  // `read` is notified when `announced` has been read.
  std::string announced;
  absl::Notification read;

 private:
  InMemoryRendezvous& table_;
};

TEST(GlooRendezvous, ARankThatDoesNotComeIsADeadline) {
  InMemoryRendezvous table;
  CommunicatorOptions options = OptionsOf(0, 2);
  options.rendezvous_timeout = kShort;
  const absl::Time start = absl::Now();
  EXPECT_EQ(CreateGlooCommunicator(options, table).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - start, kShort);
  EXPECT_LT(absl::Now() - start, kShort + kGrace);
}

TEST(GlooRendezvous, AnEndedGenerationAborts) {
  InMemoryRendezvous table;
  std::thread end([&] {
    // By then rank 0 is about to wait for rank 1.
    EXPECT_EQ(table.Wait("gloo/address/0", absl::InfiniteFuture()).status(), absl::OkStatus());
    table.End();
  });
  const absl::Time start = absl::Now();
  EXPECT_EQ(CreateGlooCommunicator(OptionsOf(0, 2), table).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_LT(absl::Now() - start, kGrace);
  end.join();
}

// Rank 1 has put its address, but does not dial: it waits for ever for an entry of rank 0's.
void WithAPeerThatDoesNotConnect(absl::Duration timeout, bool end_generation,
                                 absl::StatusCode expected) {
  InMemoryRendezvous table;
  BentRendezvous mine(table), peers(table);
  mine.announced = "gloo/address/1";
  peers.missing = "gloo/address/0";
  std::thread peer([&] {
    EXPECT_EQ(CreateGlooCommunicator(OptionsOf(1, 2), peers).status().code(),
              absl::StatusCode::kAborted);
  });
  std::thread end([&] {
    mine.read.WaitForNotification();
    if (end_generation) table.End();
  });
  CommunicatorOptions options = OptionsOf(0, 2);
  options.timeout = timeout;
  const absl::Time start = absl::Now();
  EXPECT_EQ(CreateGlooCommunicator(options, mine).status().code(), expected);
  EXPECT_LT(absl::Now() - start, kGrace);
  table.End();
  end.join();
  peer.join();
}

TEST(GlooRendezvous, APeerThatDoesNotConnectIsADeadline) {
  // Who dials and who listens depends on the ports: both come up.
  for (int i = 0; i < 8; ++i) {
    WithAPeerThatDoesNotConnect(kShort, false, absl::StatusCode::kDeadlineExceeded);
  }
}

TEST(GlooRendezvous, AnEndedGenerationAbortsAConnection) {
  for (int i = 0; i < 8; ++i) {
    WithAPeerThatDoesNotConnect(absl::Minutes(5), true, absl::StatusCode::kAborted);
  }
}

TEST(GlooRendezvous, APeerThatIsGoneIsNoticed) {
  // The address of a rank that has given up: nobody listens there any more.
  InMemoryRendezvous first;
  CommunicatorOptions options = OptionsOf(1, 2);
  options.rendezvous_timeout = absl::Milliseconds(1);
  ASSERT_FALSE(CreateGlooCommunicator(options, first).ok());
  InMemoryRendezvous table;
  ASSERT_EQ(table.Put("gloo/address/1", *first.Wait("gloo/address/1", absl::InfiniteFuture())),
            absl::OkStatus());
  options = OptionsOf(0, 2);
  options.timeout = kShort;
  const absl::Status status = CreateGlooCommunicator(options, table).status();
  // Refused where rank 0 dials, without an answer where it listens.
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
}

TEST(GlooRendezvous, APeerOfAnotherGenerationIsNotTrusted) {
  for (const bool same_secret : {true, false}) {
    InMemoryRendezvous table;
    RunRanks(2, [&](int rank) {
      BentRendezvous mine(table);
      if (rank == 1 && !same_secret) mine.replaced["gloo/secret"] = "0123456789abcdef";
      const auto made = CreateGlooCommunicator(OptionsOf(rank, 2), mine);
      EXPECT_EQ(made.status().code(),
                same_secret ? absl::StatusCode::kOk : absl::StatusCode::kUnavailable)
          << made.status();
    });
  }
}

TEST(GlooRendezvous, AMalformedAddressIsAnError) {
  for (const std::string& address : {std::string(), std::string(1000, 'x')}) {
    InMemoryRendezvous table;
    ASSERT_EQ(table.Put("gloo/address/1", address), absl::OkStatus());
    EXPECT_EQ(CreateGlooCommunicator(OptionsOf(0, 2), table).status().code(),
              absl::StatusCode::kUnavailable);
  }
}

TEST(GlooRendezvous, AnInterfaceOfAnotherHostIsRefused) {
  for (const char* address : {"192.0.2.1", "not an address"}) {
    InMemoryRendezvous table;
    CommunicatorOptions options = OptionsOf(0, 2);
    options.interface_address = address;
    const absl::Status status = CreateGlooCommunicator(options, table).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find(address), std::string::npos) << status;
  }
}

TEST(GlooRendezvous, TheDefaultInterfaceConnects) {
  InMemoryRendezvous table;
  RunRanks(2, [&](int rank) {
    CommunicatorOptions options = OptionsOf(rank, 2);
    options.interface_address = "";
    EXPECT_EQ(CreateGlooCommunicator(options, table).status(), absl::OkStatus());
  });
}

TEST(GlooCommunicator, ATimeoutIsNoDeath) {
  // Rank 2 does not come. Rank 0 gives up early, keeps its communicator, and does not look dead to
  // rank 1.
  InMemoryRendezvous table;
  absl::Notification over;
  RunRanks(3, [&](int rank) {
    CommunicatorOptions options = OptionsOf(rank, 3);
    options.timeout = rank == 0 ? kShort : 3 * kShort;
    auto made = CreateGlooCommunicator(options, table);
    ASSERT_EQ(made.status(), absl::OkStatus());
    if (rank < 2) {
      std::vector<char> all(3);
      const absl::Status status = (*made)->AllGather(all.data() + rank, all.data(), 1);
      EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    }
    if (rank == 1) over.Notify();
    over.WaitForNotification();
  });
}

TEST(GlooCommunicator, TheErrorNamesTheRank) {
  InMemoryRendezvous table;
  absl::Notification left;
  RunRanks(3, [&](int rank) {
    auto made = CreateGlooCommunicator(OptionsOf(rank, 3), table);
    ASSERT_EQ(made.status(), absl::OkStatus());
    if (rank == 1) {
      made->reset();
      left.Notify();
      return;
    }
    left.WaitForNotification();
    std::vector<char> all(3);
    const absl::Status status = (*made)->AllGather(all.data() + rank, all.data(), 1);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(status.message().find("rank "), std::string::npos) << status;
  });
}

}  // namespace
}  // namespace evograd
