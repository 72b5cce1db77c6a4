// Goal: ranks that cannot find, reach or trust each other are told so in time; a timeout on one is
// no death to another. Method: groups of threads over 127.0.0.1 with a rendezvous that holds back
// or falsifies single entries. That groups which are left alone connect is shown by
// conformance_test.cc.
#include "worker/collective/tcp_communicator.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "worker/collective/handshake.h"
#include "worker/collective/in_memory_rendezvous.h"
#include "worker/collective/local_address.h"
#include "worker/collective/suspects.h"
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
    if (on_wait != nullptr) on_wait();
    if (key == missing) return table_.Wait("never put", deadline);
    auto value = table_.Wait(key, deadline);
    if (value.ok() && key == announced && !read.HasBeenNotified()) read.Notify();
    const auto other = replaced.find(key);
    return other == replaced.end() ? value : other->second;
  }
  bool Ended() const override { return table_.Ended(); }

  std::function<void()> on_wait;
  std::string missing;
  std::map<std::string, std::string> replaced;
  // `read` is notified when `announced` has been read.
  std::string announced;
  absl::Notification read;

 private:
  InMemoryRendezvous& table_;
};

TEST(TcpRendezvous, ARankThatDoesNotComeIsADeadline) {
  InMemoryRendezvous table;
  CommunicatorOptions options = OptionsOf(0, 2);
  options.rendezvous_timeout = kShort;
  const absl::Time start = absl::Now();
  EXPECT_EQ(CreateTcpCommunicator(options, table).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - start, kShort);
  EXPECT_LT(absl::Now() - start, kShort + kGrace);
}

TEST(TcpRendezvous, AnEndedGenerationAborts) {
  InMemoryRendezvous table;
  std::thread end([&] {
    // By then rank 0 is about to wait for rank 1.
    EXPECT_EQ(table.Wait("tcp/address/0", absl::InfiniteFuture()).status(), absl::OkStatus());
    table.End();
  });
  const absl::Time start = absl::Now();
  EXPECT_EQ(CreateTcpCommunicator(OptionsOf(0, 2), table).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_LT(absl::Now() - start, kGrace);
  end.join();
}

// Rank 1 has put its address, but does not dial: it waits for ever for an entry of rank 0's.
void WithAPeerThatDoesNotConnect(absl::Duration connect_timeout, bool end_generation,
                                 absl::StatusCode expected) {
  InMemoryRendezvous table;
  BentRendezvous mine(table), peers(table);
  mine.announced = "tcp/address/1";
  peers.missing = "tcp/address/0";
  std::thread peer([&] {
    EXPECT_EQ(CreateTcpCommunicator(OptionsOf(1, 2), peers).status().code(),
              absl::StatusCode::kAborted);
  });
  std::thread end([&] {
    mine.read.WaitForNotification();
    if (end_generation) table.End();
  });
  CommunicatorOptions options = OptionsOf(0, 2);
  // Collectives may wait for what has no bound.
  options.timeout = absl::Hours(24);
  options.connect_timeout = connect_timeout;
  const absl::Time start = absl::Now();
  EXPECT_EQ(CreateTcpCommunicator(options, mine).status().code(), expected);
  EXPECT_LT(absl::Now() - start, kGrace);
  table.End();
  end.join();
  peer.join();
}

TEST(TcpRendezvous, APeerThatDoesNotConnectIsADeadline) {
  WithAPeerThatDoesNotConnect(kShort, false, absl::StatusCode::kDeadlineExceeded);
}

TEST(TcpRendezvous, AnEndedGenerationAbortsAConnection) {
  WithAPeerThatDoesNotConnect(absl::Minutes(5), true, absl::StatusCode::kAborted);
}

// Rank 0's or 1's error where the other one's address is that of a rank that has given up.
absl::Status WithAPeerThatIsGone(int rank, const std::string& interface_address = "127.0.0.1",
                                 const std::string& peers_address = "127.0.0.1") {
  const int peer = 1 - rank;
  InMemoryRendezvous table;
  CommunicatorOptions options = OptionsOf(peer, 2);
  options.interface_address = peers_address;
  options.rendezvous_timeout = absl::Milliseconds(1);
  const absl::Status left = CreateTcpCommunicator(options, table).status();
  EXPECT_EQ(left.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Suspects(left), std::vector<int>{rank});
  options = OptionsOf(rank, 2);
  options.interface_address = interface_address;
  options.connect_timeout = kShort;
  const absl::Status status = CreateTcpCommunicator(options, table).status();
  EXPECT_EQ(Suspects(status), std::vector<int>{peer}) << status;
  return status;
}

TEST(TcpRendezvous, APeerThatIsGoneIsNoticed) {
  // The higher rank dials: it is refused. The lower one waits in vain.
  EXPECT_EQ(WithAPeerThatIsGone(1).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(WithAPeerThatIsGone(0).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(TcpRendezvous, AProcessWithoutDescriptorsDoesNotAccuseItsPeer) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  InMemoryRendezvous table;
  ASSERT_EQ(table.Put("tcp/address/0", "127.0.0.1 9"), absl::OkStatus());
  ASSERT_EQ(table.Put("tcp/secret", RandomSecret()), absl::OkStatus());
  BentRendezvous mine(table);
  mine.on_wait = [&] {
    // The port is open; what follows dials.
    const rlimit none = {0, before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  };
  const absl::Status status = CreateTcpCommunicator(OptionsOf(1, 2), mine).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(Suspects(status), std::vector<int>());
}

bool HasIpv6Loopback() { return LocalAddress("::1").ok(); }

TEST(TcpRendezvous, AddressesOfTwoKindsAreNamedWhereTheyDoNotConnect) {
  if (!HasIpv6Loopback()) GTEST_SKIP() << "there is no IPv6 here";
  const absl::Status status = WithAPeerThatIsGone(1, "127.0.0.1", "::1");
  for (const char* text : {"at 127.0.0.1:", "at [::1]:", "IPv4", "IPv6", "--interface_address"}) {
    EXPECT_NE(status.message().find(text), std::string::npos) << status;
  }
  EXPECT_EQ(WithAPeerThatIsGone(1).message().find("IPv6"), std::string::npos);
}

TEST(TcpRendezvous, AddressesOfTwoKindsConnectWhereTheHostHasBoth) {
  if (!HasIpv6Loopback()) GTEST_SKIP() << "there is no IPv6 here";
  InMemoryRendezvous table;
  RunRanks(3, [&](int rank) {
    CommunicatorOptions options = OptionsOf(rank, 3);
    options.interface_address = rank == 1 ? "::1" : "127.0.0.1";
    EXPECT_EQ(CreateTcpCommunicator(options, table).status(), absl::OkStatus());
  });
}

TEST(TcpRendezvous, APeerOfAnotherGenerationIsNotTrusted) {
  for (const bool same_secret : {true, false}) {
    InMemoryRendezvous table;
    std::vector<absl::Status> statuses(2);
    RunRanks(2, [&](int rank) {
      BentRendezvous mine(table);
      if (rank == 1 && !same_secret) mine.replaced["tcp/secret"] = RandomSecret();
      CommunicatorOptions options = OptionsOf(rank, 2);
      if (!same_secret) options.connect_timeout = kShort;
      statuses[rank] = CreateTcpCommunicator(options, mine).status();
    });
    if (same_secret) {
      EXPECT_EQ(statuses, std::vector<absl::Status>(2));
      continue;
    }
    // Who dials knows whom it dialled; who listens has seen a stranger, and misses the rank.
    EXPECT_EQ(statuses[1].code(), absl::StatusCode::kUnavailable) << statuses[1];
    EXPECT_EQ(Suspects(statuses[1]), std::vector<int>{0});
    EXPECT_EQ(statuses[0].code(), absl::StatusCode::kDeadlineExceeded) << statuses[0];
    EXPECT_EQ(Suspects(statuses[0]), std::vector<int>{1});
  }
}

TEST(TcpRendezvous, AWeakSecretIsRefused) {
  for (const std::string& secret : {std::string(), std::string("0123456789abcdef")}) {
    InMemoryRendezvous table;
    BentRendezvous mine(table);
    mine.replaced["tcp/secret"] = secret;
    ASSERT_EQ(table.Put("tcp/address/1", "127.0.0.1 9"), absl::OkStatus());
    EXPECT_EQ(CreateTcpCommunicator(OptionsOf(0, 2), mine).status().code(),
              absl::StatusCode::kUnavailable);
  }
}

TEST(TcpRendezvous, AMalformedAddressIsAnError) {
  for (const std::string& address :
       {std::string(), std::string(1000, 'x'), std::string("127.0.0.1 99999"),
        std::string("localhost 80"), std::string("127.0.0.1")}) {
    InMemoryRendezvous table;
    ASSERT_EQ(table.Put("tcp/address/1", address), absl::OkStatus());
    const absl::Status status = CreateTcpCommunicator(OptionsOf(0, 2), table).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_EQ(Suspects(status), std::vector<int>{1});
  }
}

TEST(TcpRendezvous, AllWhoDidNotComeAreNamed) {
  InMemoryRendezvous table;
  ASSERT_EQ(table.Put("tcp/address/2", "127.0.0.1 9"), absl::OkStatus());
  CommunicatorOptions options = OptionsOf(0, 4);
  options.rendezvous_timeout = kShort;
  const absl::Status status = CreateTcpCommunicator(options, table).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Suspects(status), (std::vector<int>{1, 3})) << status;
}

TEST(TcpRendezvous, AnInterfaceOfAnotherHostIsRefused) {
  for (const char* address : {"192.0.2.1", "not an address"}) {
    InMemoryRendezvous table;
    CommunicatorOptions options = OptionsOf(0, 2);
    options.interface_address = address;
    const absl::Status status = CreateTcpCommunicator(options, table).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find(address), std::string::npos) << status;
  }
}

TEST(TcpRendezvous, TheDefaultInterfaceConnects) {
  InMemoryRendezvous table;
  RunRanks(2, [&](int rank) {
    CommunicatorOptions options = OptionsOf(rank, 2);
    options.interface_address = "";
    EXPECT_EQ(CreateTcpCommunicator(options, table).status(), absl::OkStatus());
  });
}

TEST(TcpCommunicator, ATimeoutIsNoDeath) {
  // Rank 2 does not come. Rank 0 gives up early, keeps its communicator, and does not look dead to
  // rank 1.
  InMemoryRendezvous table;
  absl::Notification over;
  RunRanks(3, [&](int rank) {
    CommunicatorOptions options = OptionsOf(rank, 3);
    options.timeout = rank == 0 ? kShort : 3 * kShort;
    auto made = CreateTcpCommunicator(options, table);
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

TEST(TcpCommunicator, ItsConnectionsAreKeptAlive) {
  InMemoryRendezvous table;
  absl::Mutex mutex;
  std::vector<std::unique_ptr<Communicator>> ranks;
  RunRanks(2, [&](int rank) {
    auto made = CreateTcpCommunicator(OptionsOf(rank, 2), table);
    ASSERT_EQ(made.status(), absl::OkStatus());
    absl::MutexLock lock(&mutex);
    ranks.push_back(*std::move(made));
  });
  int connections = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_storage peer = {};
    socklen_t length = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (peer.ss_family != AF_INET) continue;
    ++connections;
    int alive = 0;
    length = sizeof alive;
    EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &length), 0);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(connections, 2);
}

TEST(TcpCommunicator, TheErrorNamesTheRank) {
  InMemoryRendezvous table;
  absl::Notification left;
  RunRanks(3, [&](int rank) {
    auto made = CreateTcpCommunicator(OptionsOf(rank, 3), table);
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
