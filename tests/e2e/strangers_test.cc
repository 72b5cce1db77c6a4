// Goal: whoever connects to a port of the service and speaks nothing, or anything but its protocol,
// ends with that connection: no process dies or grows, and a job ends with the result of an
// undisturbed run in its first group. Method: real processes; strangers of each kind, and 200 that
// stay, at the coordinator's port and at the one on which each worker listens while a group forms,
// which is held open by stopping the engine of the other worker.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/stopped_thread.h"

namespace evograd::e2e {
namespace {

constexpr int kHeldOpen = 200;

// What they say before they wait for an answer.
std::vector<std::string> Greetings() {
  std::string garbage;
  for (int i = 0; i < 100'000; ++i) garbage += static_cast<char>(i * 7919 >> 3);
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  // An empty SETTINGS frame, as the protocol wants it first.
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  // A frame of 16 MB, of which nothing comes.
  const std::string huge("\xff\xff\xff\0\1\0\0\0\1", 9);
  return {"",
          garbage,
          std::string("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 11),  // half of a TLS hello
          "GET / HTTP/1.1\r\nHost: evograd\r\n\r\n",
          preface,
          preface + garbage,
          preface + settings + garbage,
          preface + settings + huge};
}

// Lives as long as its connection is to stay.
class Stranger {
 public:
  Stranger(int port, const std::string& greeting) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    // Whether it is read to its end is the other side's affair.
    if (connected_) send(fd_, greeting.data(), greeting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  ~Stranger() { close(fd_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  bool connected() const { return connected_; }
  // By the other side; what it said is passed over.
  bool closed() const {
    char bytes[4096];
    ssize_t size = 0;
    do {
      size = recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (size > 0);
    return size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
  }

 private:
  int fd_;
  bool connected_;
};

using Strangers = std::vector<std::unique_ptr<Stranger>>;

// One of each kind, and many that say nothing.
void Visit(int port, Strangers* strangers) {
  int refused = 0;
  for (const std::string& greeting : Greetings()) {
    strangers->push_back(std::make_unique<Stranger>(port, greeting));
    refused += !strangers->back()->connected();
  }
  for (int i = 0; i < kHeldOpen; ++i) {
    strangers->push_back(std::make_unique<Stranger>(port, ""));
    refused += !strangers->back()->connected();
  }
  EXPECT_EQ(refused, 0);
}

// TCP ports of IPv4 at which the process listens.
std::vector<int> ListeningPorts(pid_t pid) {
  std::set<std::string> sockets;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"), error)) {
    sockets.insert(std::filesystem::read_symlink(entry.path(), error).string());
  }
  std::vector<int> ports;
  std::ifstream table(absl::StrCat("/proc/", pid, "/net/tcp"));
  for (std::string line; std::getline(table, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    // Number, local address, remote one, state (0A: listening), …, inode.
    if (words.size() < 10 || words[3] != "0A") continue;
    if (sockets.count(absl::StrCat("socket:[", words[9], "]")) == 0) continue;
    ports.push_back(std::stoi(words[1].substr(words[1].find(':') + 1), nullptr, 16));
  }
  return ports;
}

// The most that was in memory.
int64_t PeakBytes(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string word;
  int64_t kib = 0;
  while (status >> word && word != "VmHWM:") {
  }
  status >> kib;
  EXPECT_GT(kib, 0);
  return kib << 10;
}

TEST(StrangersTest, AtEveryPortOfTheService) {
  const v1::Job reference = RunUndisturbed(SmallRotation(60));
  v1::JobSpec spec = SmallRotation(60);
  spec.set_min_workers(2);
  spec.set_max_workers(2);
  Cluster cluster;
  cluster.StartCoordinator();
  const std::string& address = cluster.address();
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  const std::vector<std::string> workers = {"w1", "w2"};
  for (const std::string& id : workers) cluster.StartWorker(id);
  cluster.WaitForFreeWorkers(2);
  const int64_t coordinator_bytes = PeakBytes(cluster.coordinator().pid());

  Strangers at_coordinator;
  Visit(port, &at_coordinator);
  for (int i = 0; i < 2; ++i) {
    const std::string job = absl::StrCat("visited-", i);
    Strangers at_worker;
    {
      const StoppedThread late(ThreadOf(cluster.worker(workers[1 - i]).pid(), "engine"));
      ASSERT_TRUE(late.stopped()) << strerror(errno);
      cluster.Submit(job, spec);
      std::vector<int> ports;
      ASSERT_TRUE(WaitUntil([&] {
        ports = ListeningPorts(cluster.worker(workers[i]).pid());
        return !ports.empty();
      }));
      for (const int listening : ports) Visit(listening, &at_worker);
    }
    cluster.WaitForStep(job, 5);
    Visit(port, &at_coordinator);
    cluster.ExpectResultOf(reference, job);
    EXPECT_EQ(cluster.Get(job).generation(), 1);
    cluster.WaitForFreeWorkers(2);
    ASSERT_TRUE(WaitUntil([&] {
      return std::all_of(at_worker.begin(), at_worker.end(),
                         [](const auto& stranger) { return stranger->closed(); });
    }));
  }
  // Nobody holds a connection for ever.
  ASSERT_TRUE(WaitUntil([&] {
    return std::all_of(at_coordinator.begin(), at_coordinator.end(),
                       [](const auto& stranger) { return stranger->closed(); });
  }));
  // A connection costs some tens of kilobytes.
  EXPECT_LT(PeakBytes(cluster.coordinator().pid()), coordinator_bytes + (int64_t{128} << 20));
  cluster.WaitForFreeWorkers(2);
}

}  // namespace
}  // namespace evograd::e2e
