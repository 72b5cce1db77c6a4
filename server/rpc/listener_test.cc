// Connections that cannot be taken for lack of files are taken later. Method: a listener in this
// process, which hands them to a list; the limit of open files is lowered under it.
#include "server/rpc/listener.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

class Taken {
 public:
  ~Taken() {
    for (const int fd : fds_) close(fd);
  }
  void Add(int fd) {
    const absl::MutexLock lock(&mutex_);
    fds_.push_back(fd);
  }
  // How many there are, once they are `count`.
  size_t Await(size_t count) {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [&] { return fds_.size() >= count; };
    mutex_.Await(absl::Condition(&enough));
    return fds_.size();
  }

 private:
  absl::Mutex mutex_;
  std::vector<int> fds_;
};

class Acceptor : public grpc::experimental::ExternalConnectionAcceptor {
 public:
  explicit Acceptor(Taken* taken) : taken_(*taken) {}
  void HandleNewConnection(NewConnectionParameters* connection) override {
    taken_.Add(connection->fd);
  }

 private:
  Taken& taken_;
};

struct Notices {
  void Add(const std::string& notice) {
    const absl::MutexLock lock(&mutex);
    all.push_back(notice);
  }
  std::string Await() {
    const absl::MutexLock lock(&mutex);
    const auto some = [this] { return !all.empty(); };
    mutex.Await(absl::Condition(&some));
    return all.front();
  }

  absl::Mutex mutex;
  std::vector<std::string> all;
};

int Port(const std::string& address) {
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
  return port;
}

// A client's end.
int Dial(const std::string& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(Port(address)));
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0)
      << std::strerror(errno);
  return fd;
}

TEST(ListenerTest, WhatIsShortForATimeMakesItNotDeaf) {
  Notices notices;
  auto listener = Listener::Bind("127.0.0.1:0", [&](const std::string& n) { notices.Add(n); });
  ASSERT_TRUE(listener.ok()) << listener.status();
  Taken taken;
  (*listener)->Serve(std::make_unique<Acceptor>(&taken));
  std::vector<int> clients = {Dial((*listener)->address())};
  taken.Await(1);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  // The client's end takes the last one.
  const int lowest_free = dup(0);
  close(lowest_free);
  const rlimit none = {static_cast<rlim_t>(lowest_free) + 1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  clients.push_back(Dial((*listener)->address()));
  const std::string notice = notices.Await();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(notice, HasSubstr("no connection can be taken now: Too many open files"));
  taken.Await(2);
  for (const int client : clients) close(client);
}

TEST(ListenerTest, WhoIsGoneIsHandedToNobody) {
  auto listener = Listener::Bind("127.0.0.1:0", nullptr);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const int gone = Dial((*listener)->address());
  // With a reset, before anybody accepts.
  const linger none = {1, 0};
  ASSERT_EQ(setsockopt(gone, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
  close(gone);
  const int there = Dial((*listener)->address());
  Taken taken;
  (*listener)->Serve(std::make_unique<Acceptor>(&taken));
  EXPECT_EQ(taken.Await(1), 1);
  close(there);
}

TEST(ListenerTest, SaysWhyItCannotListen) {
  const auto first = Listener::Bind("127.0.0.1:0", nullptr);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto error = [](const std::string& listen) {
    return std::string(Listener::Bind(listen, nullptr).status().message());
  };
  EXPECT_THAT(error((*first)->address()), HasSubstr("another program listens there"));
  EXPECT_THAT(error("192.0.2.1:0"), HasSubstr("it is no address of this machine"));
  EXPECT_THAT(error("host.invalid:7070"), HasSubstr("cannot listen on host.invalid:7070: "));
  EXPECT_THAT(error("unix:/proc/none/socket"), HasSubstr("cannot listen on unix:"));
}

TEST(ListenerTest, ASocketsFileIsItsOwnersAloneAndGoesWithIt) {
  // Bazel's folders are too long for a socket's path.
  char folder[] = "/tmp/evograd_XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/socket";
  {
    const auto listener = Listener::Bind("unix:" + path, nullptr);
    ASSERT_TRUE(listener.ok()) << listener.status();
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    EXPECT_EQ((*listener)->address(), "unix:" + path);
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  // But not another one that took its place.
  auto first = Listener::Bind("unix:" + path, nullptr);
  ASSERT_TRUE(first.ok()) << first.status();
  unlink(path.c_str());
  const auto second = Listener::Bind("unix:" + path, nullptr);
  ASSERT_TRUE(second.ok()) << second.status();
  first->reset();
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  unlink(path.c_str());
  rmdir(folder);
}

}  // namespace
}  // namespace evograd
