// Goal: whoever connects to a rank's port and is no rank of the group ends that one connection and
// nothing else: the group forms and computes, and no core is used for it.
//
// Method: three ranks as threads over 127.0.0.1; strangers that say nothing, leave at once, send
// garbage or a byte now and then come before a rank looks at its port, while it waits for the last
// rank, and when the group is complete.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/service_limits.h"
#include "gtest/gtest.h"
#include "worker/collective/file_descriptor.h"
#include "worker/collective/handshake.h"
#include "worker/collective/in_memory_rendezvous.h"
#include "worker/collective/tcp_communicator.h"
#include "worker/collective/testing/run_ranks.h"

namespace evograd {
namespace {

constexpr int kRanks = 3;

// A group whose last rank does not read the others' addresses before it is let.
class Group : public Rendezvous {
 public:
  absl::Status Put(const std::string& key, const std::string& value) override {
    return table_.Put(key, value);
  }
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Time deadline) override {
    return table_.Wait(key, deadline);
  }
  bool Ended() const override { return table_.Ended(); }

  int Port(int rank) {
    const auto entry = table_.Wait(absl::StrCat("tcp/address/", rank), absl::InfiniteFuture());
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(entry->substr(entry->find(' ') + 1), &port)) << *entry;
    return port;
  }

  // Each rank's communicator; the last rank begins with its address in place, but dials only when
  // `last_may_dial` is notified.
  void Form() {
    RunRanks(kRanks, [&](int rank) {
      LateRendezvous late(*this);
      CommunicatorOptions options;
      options.rank = rank;
      options.size = kRanks;
      options.interface_address = "127.0.0.1";
      auto made = rank == kRanks - 1 ? CreateTcpCommunicator(options, late)
                                     : CreateTcpCommunicator(options, *this);
      ASSERT_EQ(made.status(), absl::OkStatus());
      ranks[rank] = *std::move(made);
    });
  }

  // Some collectives on all ranks.
  void Compute() {
    RunRanks(kRanks, [&](int rank) {
      for (int round = 0; round < 20; ++round) {
        std::vector<int> all(kRanks);
        const int mine = round * 10 + rank;
        ASSERT_EQ(ranks[rank]->AllGather(&mine, all.data(), sizeof mine), absl::OkStatus());
        for (int r = 0; r < kRanks; ++r) EXPECT_EQ(all[r], round * 10 + r);
      }
    });
  }

  absl::Notification last_may_dial;
  std::vector<std::unique_ptr<Communicator>> ranks{kRanks};

 private:
  class LateRendezvous : public Rendezvous {
   public:
    explicit LateRendezvous(Group& group) : group_(group) {}
    absl::Status Put(const std::string& key, const std::string& value) override {
      return group_.Put(key, value);
    }
    absl::StatusOr<std::string> Wait(const std::string& key, absl::Time deadline) override {
      group_.last_may_dial.WaitForNotification();
      return group_.Wait(key, deadline);
    }

   private:
    Group& group_;
  };

  InMemoryRendezvous table_;
};

// A stranger's connection; not valid where the port is closed.
FileDescriptor Connect(int port) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience = {60, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  // Refused, or closed in that moment.
  EXPECT_TRUE(errno == ECONNREFUSED || errno == ECONNRESET) << strerror(errno);
  return FileDescriptor();
}

void Say(const FileDescriptor& fd, const std::string& text) {
  (void)!send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

// Waits until the other side has closed the connection; false when it does not within a minute.
bool IsDropped(const FileDescriptor& fd) {
  char byte = 0;
  while (true) {
    const ssize_t received = recv(fd.get(), &byte, 1, 0);
    if (received > 0 || (received < 0 && errno == EINTR)) continue;
    return received == 0 || errno != EAGAIN;
  }
}

// What strangers may say first; the first ones are as long as a rank's greeting.
std::vector<std::string> Garbage() {
  std::vector<std::string> texts;
  for (const char opcode : {0, 1, 2}) {
    std::string text(48, '\0');
    text[0] = opcode;
    texts.push_back(text);
  }
  texts.push_back("GET / HTTP/1.1\r\nHost: worker\r\nUser-Agent: scanner\r\n\r\n");
  texts.push_back(std::string(1 << 16, '\xff'));
  // The right words, and no secret.
  texts.push_back(Handshake::Dial("", kRanks - 1, 0, kRanks).TakeOutput() + std::string(32, 'x'));
  return texts;
}

// The share of one core that this process uses in a second.
double CoresInUse() {
  const auto cpu = [] {
    timespec time = {};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return absl::DurationFromTimespec(time);
  };
  const absl::Duration before = cpu();
  const absl::Time start = absl::Now();
  absl::SleepFor(absl::Seconds(1));
  return absl::FDivDuration(cpu() - before, absl::Now() - start);
}

class Strangers : public testing::Test {
 protected:
  ~Strangers() override {
    if (!group_.last_may_dial.HasBeenNotified()) group_.last_may_dial.Notify();
    if (forming_.joinable()) forming_.join();
  }

  void LetTheLastDial() {
    group_.last_may_dial.Notify();
    forming_.join();
  }

  // One of each kind at each port.
  void ComeAndStay(std::vector<FileDescriptor>* strangers) {
    for (int rank = 0; rank < kRanks; ++rank) {
      for (const std::string& text : Garbage()) {
        strangers->push_back(Connect(group_.Port(rank)));
        Say(strangers->back(), text);
      }
      strangers->push_back(Connect(group_.Port(rank)));
      // One that leaves at once.
      Connect(group_.Port(rank));
    }
  }

  Group group_;
  std::thread forming_{[this] { group_.Form(); }};
};

TEST_F(Strangers, BeforeAndWhileTheGroupForms) {
  std::vector<FileDescriptor> strangers;
  // Some come while ranks 0 and 1 may still look for each other, more while they wait for rank 2.
  for (int wave = 0; wave < 3; ++wave) ComeAndStay(&strangers);
  EXPECT_LT(CoresInUse(), 0.5);
  LetTheLastDial();
  group_.Compute();
  for (const FileDescriptor& stranger : strangers) EXPECT_TRUE(IsDropped(stranger));
}

TEST_F(Strangers, WhoSaysNothingWrongIsDroppedInTime) {
  // Ranks 0 and 1 wait for rank 2 all the time: nothing but the time ends these connections.
  const FileDescriptor silent = Connect(group_.Port(0));
  const FileDescriptor slow = Connect(group_.Port(1));
  std::atomic<bool> dropped{false};
  std::thread drip([&] {
    while (!dropped) {
      Say(slow, "e");
      absl::SleepFor(absl::Milliseconds(500));
    }
  });
  EXPECT_TRUE(IsDropped(silent));
  EXPECT_TRUE(IsDropped(slow));
  dropped = true;
  drip.join();
  LetTheLastDial();
  group_.Compute();
}

TEST_F(Strangers, TooManyDoNotKeepARankOut) {
  std::vector<FileDescriptor> crowd;
  for (int i = 0; i < 3 * limits::kMaxStrangers; ++i) {
    // The last rank does not look at its port yet: who comes there only waits in the kernel.
    for (int rank = 0; rank < kRanks - 1; ++rank) crowd.push_back(Connect(group_.Port(rank)));
  }
  std::atomic<bool> over{false};
  std::vector<std::thread> more;
  for (int rank = 0; rank < kRanks; ++rank) {
    more.emplace_back([&, port = group_.Port(rank)] {
      // Until the group is complete, but never all ports of this host.
      for (int i = 0; i < 5000 && !over && Connect(port).valid(); ++i) {
      }
    });
  }
  LetTheLastDial();
  over = true;
  for (std::thread& thread : more) thread.join();
  group_.Compute();
}

TEST_F(Strangers, AfterwardsThePortIsClosed) {
  LetTheLastDial();
  for (int rank = 0; rank < kRanks; ++rank) EXPECT_FALSE(Connect(group_.Port(rank)).valid());
  EXPECT_LT(CoresInUse(), 0.5);
  group_.Compute();
}

TEST(Stranger, WhoAnswersInARanksPlaceIsFoundOut) {
  // Who listens at the address of rank 0 echoes what it is told.
  const FileDescriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  std::thread echo([&] {
    const FileDescriptor fd(accept(listener.get(), nullptr, nullptr));
    char bytes[256];
    ssize_t received = 0;
    while ((received = recv(fd.get(), bytes, sizeof bytes, 0)) > 0) {
      Say(fd, std::string(bytes, received) + std::string(16, 'x'));
    }
  });
  InMemoryRendezvous table;
  ASSERT_EQ(table.Put("tcp/secret", RandomSecret()), absl::OkStatus());
  ASSERT_EQ(table.Put("tcp/address/0", absl::StrCat("127.0.0.1 ", ntohs(address.sin_port))),
            absl::OkStatus());
  CommunicatorOptions options;
  options.rank = 1;
  options.size = 2;
  options.interface_address = "127.0.0.1";
  const absl::Status status = CreateTcpCommunicator(options, table).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_NE(status.message().find("not of this generation"), std::string::npos) << status;
  echo.join();
}

}  // namespace
}  // namespace evograd
