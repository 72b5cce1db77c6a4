// Job files from the disk.
#ifndef EVOGRAD_CLIENT_LIB_READ_JOB_FILE_H_
#define EVOGRAD_CLIENT_LIB_READ_JOB_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "spec/job_file.h"

namespace evograd {

// Reads and parses a job file (spec/job_file.h). INVALID_ARGUMENT, with the path in the message:
// there is no such file, it cannot be read, or what it says is wrong.
absl::StatusOr<JobFile> ReadJobFile(const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_READ_JOB_FILE_H_
