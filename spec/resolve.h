// A JobSpec checked, with every default filled in. Client, coordinator and worker use the same
// functions, so what one accepts the others accept.
//
//   std::vector<FieldViolation> violations = Resolve(&spec);
//   if (!violations.empty()) return InvalidFields(violations);
//
// Pure functions of their arguments.
#ifndef EVOGRAD_SPEC_RESOLVE_H_
#define EVOGRAD_SPEC_RESOLVE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "proto/evograd/v1/job.pb.h"
#include "spec/error.h"

namespace evograd {

// Fills every default that job.proto states, then checks every field; answers what is wrong, in the
// order of the fields, empty when nothing is. Resolving a resolved spec changes nothing. Two
// choices stay open, for the worker alone can make them: `step_order` (the problem's own) and
// `estimator.member_graph` (by measured size).
//
// Where something is wrong, `spec` is left with its defaults filled in.
std::vector<FieldViolation> Resolve(v1::JobSpec* spec);

// What is wrong with a job's id (the last part of its resource name), if anything; the field is
// "job_id".
absl::optional<FieldViolation> CheckJobId(absl::string_view job_id);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_RESOLVE_H_
