// Tells a trouble that goes on, such as a transfer that is tried again and again: at once, when its
// text has changed but then at most every `interval`, and when it is over.
//
// Threads: one.
#ifndef EVOGRAD_WORKER_AGENT_TROUBLE_TELLER_H_
#define EVOGRAD_WORKER_AGENT_TROUBLE_TELLER_H_

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace evograd::agent {

class TroubleTeller {
 public:
  // `tell` gets the text, or "" where what was told is over.
  TroubleTeller(std::function<void(const std::string&)> tell, absl::Duration interval)
      : tell_(std::move(tell)), interval_(absl::ToChronoNanoseconds(interval)) {}

  void Tell(const std::string& text) {
    const auto now = std::chrono::steady_clock::now();
    if (!told_.empty() && (text == told_ || now - told_at_ < interval_)) return;
    told_ = text;
    told_at_ = now;
    tell_(text);
  }

  void Over() {
    if (!std::exchange(told_, "").empty()) tell_("");
  }

 private:
  const std::function<void(const std::string&)> tell_;
  const std::chrono::nanoseconds interval_;
  // Empty: nothing.
  std::string told_;
  std::chrono::steady_clock::time_point told_at_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_TROUBLE_TELLER_H_
