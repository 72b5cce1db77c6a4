// Marks the error that says that the ranks of a group hold different parameters, so that whoever
// drives the engine tells it from other damaged data: what the ranks hold is then in doubt.
//
// Pure; any thread.
#ifndef EVOGRAD_WORKER_ENGINE_DISAGREEMENT_H_
#define EVOGRAD_WORKER_ENGINE_DISAGREEMENT_H_

#include <string>

#include "absl/status/status.h"

namespace evograd {

// DATA_LOSS.
absl::Status RanksDisagreeError(const std::string& message);

bool RanksDisagree(const absl::Status& status);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_DISAGREEMENT_H_
