// Whether and when to try again.
#ifndef EVOGRAD_CLIENT_LIB_BACKOFF_H_
#define EVOGRAD_CLIENT_LIB_BACKOFF_H_

#include <algorithm>
#include <random>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "spec/retry.h"

namespace evograd {

// Whether the same call may be answered otherwise a little later: nobody answered it, or the
// coordinator said when to come again.
inline bool IsPassing(const absl::Status& status) {
  return absl::IsUnavailable(status) || GetRetryDelay(status).has_value();
}

// After the n-th failure (n from 0), which was `status`: 50 ms doubling up to 2 s, ±20 % so that
// many clients do not come at once, and not before the coordinator asked for.
inline absl::Duration Backoff(int failures, const absl::Status& status) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  const double uniform = std::uniform_real_distribution<double>(0, 1)(random);
  const absl::Duration pause = absl::Milliseconds(50) * (1 << std::min(failures, 6));
  return AtLeast(GetRetryDelay(status), std::min(pause, absl::Seconds(2)) * (0.8 + 0.4 * uniform),
                 uniform);
}

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_BACKOFF_H_
