// A flag that threads wait for, by the steady clock: a wait lasts as long as it says, whatever
// somebody does to the time of day. (Abseil's timed waits follow the time of day.)
//
// Threads: any.
#ifndef EVOGRAD_WORKER_AGENT_STEADY_FLAG_H_
#define EVOGRAD_WORKER_AGENT_STEADY_FLAG_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace evograd::agent {

class SteadyFlag {
 public:
  void Set() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      set_ = true;
    }
    changed_.notify_all();
  }
  void Reset() {
    const std::lock_guard<std::mutex> lock(mutex_);
    set_ = false;
  }
  bool IsSet() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return set_;
  }

  // Until it is set, at most so long; whether it is set.
  bool WaitFor(absl::Duration duration) {
    const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration);
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_until(lock, until, [this] { return set_; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_STEADY_FLAG_H_
