// Errors of the API as absl::Status: every one carries a google.rpc.ErrorInfo (domain "evograd"),
// and a google.rpc.BadRequest where fields are at fault, as payloads under their type URLs. The
// coordinator puts them into the trailer of the call; the client library takes them out again.
//
//   return MakeError(absl::StatusCode::kNotFound, "there is no job `jobs/x`", "JOB_NOT_FOUND",
//   {{"job", "jobs/x"}});
//
// Pure functions.
#ifndef EVOGRAD_SPEC_ERROR_H_
#define EVOGRAD_SPEC_ERROR_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace evograd {

inline constexpr char kErrorDomain[] = "evograd";
inline constexpr char kErrorInfoTypeUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
inline constexpr char kBadRequestTypeUrl[] = "type.googleapis.com/google.rpc.BadRequest";

// A field of a request that is wrong: its path in the proto's own names ("estimator.population"),
// and a sentence that says what is wrong, what was given and what is allowed.
struct FieldViolation {
  std::string field;
  std::string description;

  friend bool operator==(const FieldViolation& a, const FieldViolation& b) {
    return a.field == b.field && a.description == b.description;
  }
};

struct ErrorInfo {
  // UPPER_SNAKE_CASE; never renamed once released.
  std::string reason;
  std::string domain;
  // What is variable in the message, for programs.
  std::map<std::string, std::string> metadata;
};

// An error with an ErrorInfo. `code` is not OK.
absl::Status MakeError(absl::StatusCode code, const std::string& message, const std::string& reason,
                       const std::map<std::string, std::string>& metadata = {});

// INVALID_ARGUMENT, reason "INVALID_FIELDS", with a BadRequest. Its message is one sentence that
// names the first field and says how many more are wrong. `violations` is not empty.
absl::Status InvalidFields(const std::vector<FieldViolation>& violations);

// Empty fields where `status` carries no ErrorInfo, or one that cannot be read.
ErrorInfo GetErrorInfo(const absl::Status& status);

// Empty where `status` carries no BadRequest, or one that cannot be read.
std::vector<FieldViolation> GetFieldViolations(const absl::Status& status);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_ERROR_H_
