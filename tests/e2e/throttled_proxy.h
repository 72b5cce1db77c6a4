// A slow link for tests: a TCP relay on a free port of 127.0.0.1 to another port, which passes
// everything on, and what comes from those who dial it no faster than so many bytes a second, all
// connections together. It buffers next to nothing, so that they feel it.
//
// Threads: its own.
#ifndef EVOGRAD_TESTS_E2E_THROTTLED_PROXY_H_
#define EVOGRAD_TESTS_E2E_THROTTLED_PROXY_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace evograd::e2e {

class ThrottledProxy {
 public:
  // `target` is 127.0.0.1:PORT.
  ThrottledProxy(const std::string& target, double bytes_per_second);
  ~ThrottledProxy();

  const std::string& address() const { return address_; }

 private:
  void Accept();
  // Until one side closes.
  void Relay(int from, int to, bool throttled);
  // Until the link is free for so many bytes more.
  void Pass(size_t bytes);

  const int target_port_;
  const double bytes_per_second_;
  std::string address_;
  int listener_ = -1;
  std::thread acceptor_;

  std::mutex mutex_;
  // Protected by mutex_.
  bool stopping_ = false;
  std::vector<int> sockets_;
  std::vector<std::thread> relays_;
  std::chrono::steady_clock::time_point free_at_;
};

}  // namespace evograd::e2e

#endif  // EVOGRAD_TESTS_E2E_THROTTLED_PROXY_H_
