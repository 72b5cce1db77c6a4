// A job file: the JSON form of a JobSpec, in YAML or JSON, with the job's `name` beside the spec's
// own fields.
//
//   name: my-first-job          # optional: the last part of `jobs/{job_id}`
//   problem:
//     rotation: {data_dir: /usr/share/datasets/fashion-mnist}
//   steps: 500
//   estimator: {population: 4}
//
// Fields have their proto names or JSON names (`base_optimizer`, `baseOptimizer`); enum values
// their names in any case, with - or _ (`EVOGRAD_ANTITHETIC`, `evograd-antithetic`), or numbers.
// All that the proto JSON mapping of a JobSpec prints is accepted and read as the same spec.
//
// Pure functions; client/lib/read_job_file.h reads a file.
#ifndef EVOGRAD_SPEC_JOB_FILE_H_
#define EVOGRAD_SPEC_JOB_FILE_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/evograd/v1/job.pb.h"
#include "spec/yaml_tree.h"

namespace evograd {

struct JobFile {
  // As it was given to ParseJobFile; for messages.
  std::string path;
  // Empty where the file has no `name`.
  std::string job_id;
  // As written: not resolved.
  v1::JobSpec spec;
  // Where each field that the file gives stands, by its path ("estimator.population", "name").
  std::map<std::string, TextPosition> positions;

  // Where to look for a field: "FILE:LINE:COLUMN" of its key, or where it is absent that of the
  // nearest message around it that is given, or "FILE" alone.
  std::string Locate(absl::string_view field) const;

  // The same status, each of its field violations as a line of the message that begins with where
  // to look. For errors of Resolve or of the coordinator about this job. Statuses without
  // violations come back as they are.
  absl::Status Locate(const absl::Status& status) const;
};

// INVALID_ARGUMENT: the message has a line "PATH:LINE:COLUMN: field: what is wrong" for each error
// (at most limits::kMaxJobFileErrors); BadRequest names the fields.
absl::StatusOr<JobFile> ParseJobFile(absl::string_view text, const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_JOB_FILE_H_
