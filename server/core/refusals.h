// What callers are told that the machine never sees.
#ifndef EVOGRAD_SERVER_CORE_REFUSALS_H_
#define EVOGRAD_SERVER_CORE_REFUSALS_H_

#include "absl/status/status.h"

namespace evograd {

// UNAVAILABLE.
absl::Status CoordinatorStopping();
// RESOURCE_EXHAUSTED.
absl::Status CoordinatorOverloaded();

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_REFUSALS_H_
