// How long to wait before trying again.
#ifndef EVOGRAD_CLIENT_LIB_BACKOFF_H_
#define EVOGRAD_CLIENT_LIB_BACKOFF_H_

#include <algorithm>
#include <random>

#include "absl/time/time.h"

namespace evograd {

// After the n-th failure (n from 0): 50 ms doubling up to 2 s, ±20 % so that many clients do not
// come at once.
inline absl::Duration Backoff(int failures) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  const absl::Duration pause = absl::Milliseconds(50) * (1 << std::min(failures, 6));
  return std::min(pause, absl::Seconds(2)) *
         std::uniform_real_distribution<double>(0.8, 1.2)(random);
}

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_BACKOFF_H_
