#include "server/store/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

absl::Status Problem(const std::string& doing, const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat("the data directory cannot be used: ", doing,
                                                    " ", path, ": ", std::strerror(errno)));
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string ReadOwner(int fd) {
  char text[32] = {};
  const ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
  return size <= 0 ? "unknown" : std::string(absl::StripAsciiWhitespace(text));
}

}  // namespace

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Problem("opening", path);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  errno = error;
  return result == 0 ? absl::OkStatus() : Problem("writing", path);
}

absl::Status MakeDirectories(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return absl::OkStatus();
    errno = ENOTDIR;
    return Problem("creating", path);
  }
  const std::string parent = ParentOf(path);
  if (parent != path) EVOGRAD_RETURN_IF_ERROR(MakeDirectories(parent));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Problem("creating", path);
  return SyncDirectory(parent);
}

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Lock(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the data directory has no name");
  EVOGRAD_RETURN_IF_ERROR(MakeDirectories(path));
  const std::string lock_path = path + "/lock";
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Problem("creating", lock_path);
  std::unique_ptr<DataDir> dir(new DataDir(path, fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("another coordinator (process ", ReadOwner(fd), ") uses the data directory ",
                     path, "; stop it, or give this one another directory"));
  }
  const std::string owner = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, owner.data(), owner.size(), 0) != static_cast<ssize_t>(owner.size())) {
    return Problem("writing", lock_path);
  }
  EVOGRAD_RETURN_IF_ERROR(MakeDirectories(dir->checkpoints_path()));
  return dir;
}

DataDir::~DataDir() { close(lock_fd_); }

}  // namespace evograd
