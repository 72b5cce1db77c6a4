// How long to wait before dialling again: twice as long each time, between two bounds, with jitter
// so that the workers of a coordinator that was restarted do not all come at once.
//
// Pure; the caller supplies the random numbers.
#ifndef EVOGRAD_WORKER_AGENT_BACKOFF_H_
#define EVOGRAD_WORKER_AGENT_BACKOFF_H_

#include <algorithm>

#include "absl/time/time.h"

namespace evograd::agent {

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
