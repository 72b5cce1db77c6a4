// How long to wait before dialling again: twice as long each time, between two bounds, with jitter
// so that the workers of a coordinator that was restarted do not all come at once.
//
// Pure but for Jitter, which draws the random numbers.
#ifndef EVOGRAD_WORKER_AGENT_BACKOFF_H_
#define EVOGRAD_WORKER_AGENT_BACKOFF_H_

#include <algorithm>
#include <random>

#include "absl/time/time.h"

namespace evograd::agent {

// In [0, 1).
inline double Jitter() {
  static thread_local std::minstd_rand random{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(random);
}

class Backoff {
 public:
  Backoff(absl::Duration min, absl::Duration max) : min_(min), max_(max), next_(min) {}

  // `uniform` lies in [0, 1).
  absl::Duration Next(double uniform) {
    const absl::Duration full = next_;
    next_ = std::min(max_, 2 * next_);
    return std::max(min_, full * (0.5 + 0.5 * uniform));
  }

  void Reset() { next_ = min_; }

 private:
  const absl::Duration min_;
  const absl::Duration max_;
  absl::Duration next_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_BACKOFF_H_
