#include "client/lib/read_job_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "spec/error.h"

namespace evograd {

absl::StatusOr<JobFile> ReadJobFile(const std::string& path) {
  const auto fail = [&](absl::string_view what) {
    return MakeError(absl::StatusCode::kInvalidArgument, absl::StrCat(path, ": ", what),
                     "UNREADABLE_JOB_FILE", {{"path", path}});
  };
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return fail("there is no such file");
    return fail(absl::StrCat("the file cannot be read: ", std::strerror(errno)));
  }
  if (S_ISDIR(info.st_mode)) return fail("this is a folder; name a job file in it");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail(absl::StrCat("the file cannot be read: ", std::strerror(errno)));
  // One byte more than allowed shows that there are too many, also of a pipe.
  std::string text(limits::kMaxJobFileBytes + 1, '\0');
  stream.read(&text[0], text.size());
  text.resize(stream.gcount());
  return ParseJobFile(text, path);
}

}  // namespace evograd
