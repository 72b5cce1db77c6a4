#include "client/cli/job_files.h"

#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/lib/read_job_file.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "spec/error.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

// Of a path, what may be a job's id: too short a name gets something before it.
std::string IdOfPath(const std::string& path) {
  const std::string file = path.substr(path.rfind('/') + 1);
  std::string id;
  for (const char c : absl::AsciiStrToLower(file.substr(0, file.rfind('.')))) {
    const bool kept = absl::ascii_isalnum(c);
    if (kept || (!id.empty() && id.back() != '-')) id += kept ? c : '-';
  }
  if (id.size() < limits::kMinJobIdBytes || !absl::ascii_islower(id.front())) id = "job-" + id;
  // Room for a number.
  id = id.substr(0, limits::kMaxJobIdBytes - 8);
  while (id.back() == '-') id.pop_back();
  return id.size() < limits::kMinJobIdBytes ? "job-1" : id;
}

}  // namespace

std::vector<std::string> JobIds(const std::vector<CheckedFile>& files) {
  std::set<std::string> taken;
  for (const CheckedFile& checked : files) taken.insert(checked.file.job_id);
  std::vector<std::string> ids;
  for (const CheckedFile& checked : files) {
    std::string id = checked.file.job_id;
    if (id.empty()) {
      const std::string stem = IdOfPath(checked.file.path);
      id = stem;
      for (int number = 2; !taken.insert(id).second; ++number) id = absl::StrCat(stem, "-", number);
    }
    ids.push_back(id);
  }
  return ids;
}

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
