#include "client/lib/output_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/folders.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

constexpr char kStandardOutput[] = "-";

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool IsStandardOutput(const struct stat& info) {
  struct stat own;
  return fstat(STDOUT_FILENO, &own) == 0 && own.st_dev == info.st_dev && own.st_ino == info.st_ino;
}

// The parts that this process is writing.
struct Parts {
  absl::Mutex mutex;
  std::set<std::string> paths ABSL_GUARDED_BY(mutex);
};

Parts& AllParts() {
  static Parts& parts = *new Parts;
  return parts;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

std::string PathIn(const std::string& out, const std::string& name) {
  if (out == kStandardOutput) return out;
  if (absl::EndsWith(out, "/")) return out + name;
  return IsFolder(out) ? absl::StrCat(out, "/", name) : out;
}

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Open(const std::string& path) {
  auto file = absl::WrapUnique(new OutputFile(path));
  EVOGRAD_RETURN_IF_ERROR(file->Begin());
  return file;
}

absl::StatusOr<std::string> OutputFile::FindPlace(unsigned* mode) {
  struct stat info;
  standard_output_ = path_ == kStandardOutput;
  if (standard_output_) return "";
  if (lstat(path_.c_str(), &info) != 0) {
    if (errno == ENOENT && !path_.empty() && !absl::EndsWith(path_, "/")) return path_;
    return Failure("cannot be made");
  }
  if (stat(path_.c_str(), &info) != 0) return Failure("is a link that leads nowhere");
  standard_output_ = IsStandardOutput(info);
  if (standard_output_ || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) return "";
  if (S_ISDIR(info.st_mode)) errno = EISDIR;
  if (S_ISDIR(info.st_mode) || access(path_.c_str(), W_OK) != 0)
    return Failure("cannot be written");
  *mode = info.st_mode & 0777;
  char target[PATH_MAX];
  if (realpath(path_.c_str(), target) == nullptr) return Failure("cannot be written");
  return std::string(target);
}

absl::Status OutputFile::Begin() {
  unsigned mode = 0;
  EVOGRAD_ASSIGN_OR_RETURN(place_, FindPlace(&mode));
  if (place_.empty()) {
    file_ = standard_output_ ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                             : open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return file_ < 0 ? Failure("cannot be written") : absl::OkStatus();
  }
  const std::string folder = FolderOf(place_);
  if (!IsFolder(folder)) {
    errno = ENOENT;
    return Failure(absl::StrCat("cannot be made, as there is no folder ", folder));
  }
  const std::string part = absl::StrCat(place_, ".part-", getpid());
  absl::MutexLock lock(&AllParts().mutex);
  unlink(part.c_str());
  file_ = open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file_ < 0) return Failure("cannot be made");
  part_ = part;
  AllParts().paths.insert(part);
  // That of the one that it replaces.
  if (mode != 0 && fchmod(file_, mode) != 0) return Failure("cannot be made");
  return absl::OkStatus();
}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  close(file_);
  Remove();
}

void OutputFile::Remove() {
  if (part_.empty()) return;
  absl::MutexLock lock(&AllParts().mutex);
  unlink(part_.c_str());
  AllParts().paths.erase(part_);
}

void OutputFile::RemoveUnfinished() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  // For good.
  AllParts().mutex.Lock();
  for (const std::string& path : AllParts().paths) unlink(path.c_str());
}

absl::Status OutputFile::Failure(const std::string& what) const {
  const int error = errno;
  const auto code = error == ENOSPC || error == EDQUOT ? absl::StatusCode::kResourceExhausted
                                                       : absl::StatusCode::kFailedPrecondition;
  return MakeError(code, absl::StrCat("the file `", path_, "` ", what, ": ", std::strerror(error)),
                   "FILE_NOT_WRITTEN", {{"path", path_}});
}

absl::Status OutputFile::Write(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failure("cannot be written");
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Finish() {
  // Devices and pipes have nothing to sync.
  if (fsync(file_) != 0 && !(part_.empty() && (errno == EINVAL || errno == ENOTSUP))) {
    return Failure("cannot be written");
  }
  if (!part_.empty()) {
    absl::MutexLock lock(&AllParts().mutex);
    if (std::rename(part_.c_str(), place_.c_str()) != 0) {
      return Failure("cannot be put in its place");
    }
    AllParts().paths.erase(part_);
  }
  close(file_);
  file_ = -1;
  // So that the name is there after a loss of power too; where it cannot be synced the file is
  // whole all the same.
  if (!part_.empty()) SyncFolder(FolderOf(place_)).IgnoreError();
  return absl::OkStatus();
}

}  // namespace evograd
