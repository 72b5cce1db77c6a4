#include "client/cli/patience.h"

#include "client/lib/backoff.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// A job that writes checkpoints faster than they are asked for is not run after.
constexpr int kMaxChoices = 3;

}  // namespace

bool MayPass(const absl::Status& status) {
  return IsPassing(status) || absl::IsDeadlineExceeded(status);
}

absl::Status FetchChosen(const std::function<absl::StatusOr<int64_t>()>& choose,
                         const std::function<absl::Status(int64_t)>& fetch) {
  absl::Status status;
  int64_t before = -1;
  for (int i = 0; i < kMaxChoices; ++i) {
    EVOGRAD_ASSIGN_OR_RETURN(const int64_t step, choose());
    if (step == before) break;
    before = step;
    status = fetch(step);
    if (!absl::IsNotFound(status)) break;
  }
  return status;
}

}  // namespace evograd
