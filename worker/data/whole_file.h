// A whole regular file in memory.
//
// Threads: a pure function of the file. Errors, each naming the file: NOT_FOUND, PERMISSION_DENIED,
// DATA_LOSS (a folder, a pipe, a device that fails), RESOURCE_EXHAUSTED (more than `max_bytes`).
#ifndef EVOGRAD_WORKER_DATA_WHOLE_FILE_H_
#define EVOGRAD_WORKER_DATA_WHOLE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace evograd {

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t max_bytes);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_WHOLE_FILE_H_
