#include "server/core/refusals.h"

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "spec/error.h"

namespace evograd {

absl::Status CoordinatorStopping() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "the coordinator is stopping; try again when it is back",
                   "COORDINATOR_STOPPING");
}

absl::Status CoordinatorOverloaded() {
  return MakeError(absl::StatusCode::kResourceExhausted,
                   absl::StrCat("the coordinator is overloaded: ", limits::kMaxLoopInbox,
                                " requests or more are waiting; try again in a few seconds"),
                   "COORDINATOR_OVERLOADED");
}

}  // namespace evograd
