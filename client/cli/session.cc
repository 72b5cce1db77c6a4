#include "client/cli/session.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/cli/exit_code.h"
#include "spec/error.h"

namespace evograd {

int Session::Fail(const absl::Status& status) const {
  std::string message(status.message());
  // One sentence names the first wrong field only; a file's errors stand in lines already.
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  if (violations.size() > 1 && !absl::StrContains(message, "\n")) {
    for (const FieldViolation& violation : violations) {
      absl::StrAppend(&message, "\n  ", violation.field, ": ",
                      absl::StrReplaceAll(violation.description, {{"\n", "\n    "}}));
    }
  }
  // What came from elsewhere stands further right already (client/lib/grpc_status.h).
  terminal->SayText(absl::StrCat("evograd: ", absl::StripSuffix(message, "\n")));
  return ExitCodeOf(status);
}

std::string JobName(const std::string& word) {
  return absl::StartsWith(word, "jobs/") ? word : absl::StrCat("jobs/", word);
}

}  // namespace evograd
