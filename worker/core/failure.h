// What an engine's error means for a job, and how it is told.
#ifndef EVOGRAD_WORKER_CORE_FAILURE_H_
#define EVOGRAD_WORKER_CORE_FAILURE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace evograd::agent {

// Whether only the generation ends: a peer was lost, a collective ran past its deadline, or the
// work was stopped. Every other error would meet any worker, so the job fails.
bool EndsOnlyTheGeneration(const absl::Status& status);

// At most limits::kMaxWorkerTextBytes bytes that a protobuf string can carry: what is not UTF-8
// (a file's name may be anything) becomes '?'.
std::string CleanText(absl::string_view text);

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_CORE_FAILURE_H_
