// Which ranks an error of a collective or of its preparation points at: those that this rank could
// not reach, whose connection ended, or that it waited for in vain.
//
//   absl::Status status = Suspecting({2}, absl::DeadlineExceededError("…"));
//   for (int rank : Suspects(status)) …
//
// They travel as a payload of the status. Whoever makes a new status out of one has to carry them
// over.
#ifndef EVOGRAD_WORKER_COLLECTIVE_SUSPECTS_H_
#define EVOGRAD_WORKER_COLLECTIVE_SUSPECTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace evograd {

// Ascending, each once; empty where none is known.
std::vector<int> Suspects(const absl::Status& status);

// `status` with `ranks` beside those that it names already; unchanged where it is OK.
absl::Status Suspecting(const std::vector<int>& ranks, absl::Status status);

// "rank 3", "ranks 1, 3 and 4"; at most a few by name.
std::string NamesOfRanks(const std::vector<int>& ranks);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_SUSPECTS_H_
