// Job files as the verbs take them: read, checked, and their errors said with file and line.
#ifndef EVOGRAD_CLIENT_CLI_JOB_FILES_H_
#define EVOGRAD_CLIENT_CLI_JOB_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "spec/job_file.h"

namespace evograd {

struct CheckedFile {
  JobFile file;
  // file.spec with its defaults.
  v1::JobSpec resolved;
};

// INVALID_ARGUMENT: a file cannot be read or is wrong, each error a line of the message; or two
// have the same name.
absl::StatusOr<std::vector<CheckedFile>> ReadAndCheck(const std::vector<std::string>& paths);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_JOB_FILES_H_
