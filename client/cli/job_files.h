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

// The job's id of each file, for a folder of their own: its `name`, else one made of the file's
// name
// ("rotation-2x" of "Rotation_2x.yaml"), numbered where that is taken ("rotation-2x-2"). The same
// files in the same order have the same ids, so that a run can be gone on with.
std::vector<std::string> JobIds(const std::vector<CheckedFile>& files);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_JOB_FILES_H_
