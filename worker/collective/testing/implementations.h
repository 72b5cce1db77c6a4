// The implementations of Communicator, each as a way to make all ranks of a group in this process.
#ifndef EVOGRAD_WORKER_COLLECTIVE_TESTING_IMPLEMENTATIONS_H_
#define EVOGRAD_WORKER_COLLECTIVE_TESTING_IMPLEMENTATIONS_H_

#include <memory>
#include <ostream>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/collective/communicator.h"

namespace evograd {

enum class Implementation { kInProcess, kTcp, kNccl };

std::ostream& operator<<(std::ostream& out, Implementation implementation);

using Ranks = std::vector<std::unique_ptr<Communicator>>;

// The communicators of ranks 0, …, size - 1, connected through 127.0.0.1 or, with NCCL, over the
// devices of the same numbers. FAILED_PRECONDITION when there are too few devices.
absl::StatusOr<Ranks> MakeRanks(Implementation implementation, int size, absl::Duration timeout);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TESTING_IMPLEMENTATIONS_H_
