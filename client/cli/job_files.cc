#include "client/cli/job_files.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "client/lib/read_job_file.h"
#include "common/status_macros.h"
#include "spec/error.h"
#include "spec/resolve.h"

namespace evograd {

absl::StatusOr<std::vector<CheckedFile>> ReadAndCheck(const std::vector<std::string>& paths) {
  std::vector<CheckedFile> files;
  std::map<std::string, std::string> named;
  for (const std::string& path : paths) {
    CheckedFile checked;
    EVOGRAD_ASSIGN_OR_RETURN(checked.file, ReadJobFile(path));
    checked.resolved = checked.file.spec;
    const std::vector<FieldViolation> violations = Resolve(&checked.resolved);
    if (!violations.empty()) return checked.file.Locate(InvalidFields(violations));
    const std::string& id = checked.file.job_id;
    if (!id.empty() && !named.emplace(id, path).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " and ", named[id], " both name their job `", id, "`; give each its own `name`"));
    }
    files.push_back(std::move(checked));
  }
  return files;
}

}  // namespace evograd
