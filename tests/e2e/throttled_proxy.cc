#include "tests/e2e/throttled_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace evograd::e2e {
namespace {

constexpr int kBufferBytes = 4096;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

ThrottledProxy::ThrottledProxy(const std::string& target, double bytes_per_second)
    : target_port_(atoi(target.substr(target.rfind(':') + 1).c_str())),
      bytes_per_second_(bytes_per_second) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // What it accepts inherits this.
  setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &kBufferBytes, sizeof(kBufferBytes));
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(listener_, 16), 0);
  EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
  address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

ThrottledProxy::~ThrottledProxy() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    for (const int socket : sockets_) shutdown(socket, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& relay : relays_) relay.join();
  for (const int socket : sockets_) close(socket);
  close(listener_);
}

void ThrottledProxy::Accept() {
  while (true) {
    const int from = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (from < 0) return;
    const int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(target_port_);
    const bool connected =
        connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    const std::lock_guard<std::mutex> lock(mutex_);
    sockets_.push_back(from);
    sockets_.push_back(to);
    if (!connected || stopping_) {
      shutdown(from, SHUT_RDWR);
      continue;
    }
    relays_.emplace_back([this, from, to] { Relay(from, to, true); });
    relays_.emplace_back([this, from, to] { Relay(to, from, false); });
  }
}

void ThrottledProxy::Relay(int from, int to, bool throttled) {
  char buffer[kBufferBytes];
  ssize_t size = 0;
  while ((size = recv(from, buffer, sizeof(buffer), 0)) > 0) {
    if (throttled) Pass(static_cast<size_t>(size));
    if (send(to, buffer, static_cast<size_t>(size), MSG_NOSIGNAL) != size) break;
  }
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

void ThrottledProxy::Pass(size_t bytes) {
  std::chrono::steady_clock::time_point until;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::chrono::duration<double> seconds(static_cast<double>(bytes) / bytes_per_second_);
    free_at_ = std::max(free_at_, std::chrono::steady_clock::now()) +
               std::chrono::duration_cast<std::chrono::nanoseconds>(seconds);
    until = free_at_;
  }
  std::this_thread::sleep_until(until);
}

}  // namespace evograd::e2e
