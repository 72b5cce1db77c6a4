// Calls that outlive what passes by itself: a coordinator that is started again, a checkpoint that
// a newer one replaces.
#ifndef EVOGRAD_CLIENT_CLI_PATIENCE_H_
#define EVOGRAD_CLIENT_CLI_PATIENCE_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/follow.h"
#include "client/lib/backoff.h"

namespace evograd {

// Whether a coordinator that is away, or busy, may answer the same call later. A full disk of this
// process is nothing of the kind.
bool MayPass(const absl::Status& status);
template <typename T>
bool MayPass(const absl::StatusOr<T>& result) {
  return MayPass(result.status());
}

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// What `call` answers, called again while that may pass, until `deadline` or a stop.
template <typename Call>
auto Patiently(const Stopper& stopper, absl::Time deadline, const Call& call) {
  for (int failures = 0;; ++failures) {
    auto result = call();
    if (!MayPass(result) || absl::Now() >= deadline ||
        stopper.WaitForStop(Backoff(failures, StatusOf(result)))) {
      return result;
    }
  }
}

// Gives the step that `choose` answers to `fetch`. Where that has no such checkpoint any more, as a
// newer one has taken its place since, it chooses again.
absl::Status FetchChosen(const std::function<absl::StatusOr<int64_t>()>& choose,
                         const std::function<absl::Status(int64_t)>& fetch);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_PATIENCE_H_
