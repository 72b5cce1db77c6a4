#include "server/store/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/errno_status.h"
#include "common/folders.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

absl::Status CannotBeUsed(const absl::Status& status) {
  return absl::FailedPreconditionError(
      absl::StrCat("the data directory cannot be used: ", status.message()));
}

std::string ReadOwner(int fd) {
  char text[32] = {};
  const ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
  return size <= 0 ? "unknown" : std::string(absl::StripAsciiWhitespace(text));
}

// 0, or why not.
int Flock(int fd) {
  int error = 0;
  do {
    error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  } while (error == EINTR);
  return error;
}

absl::Status TakeLock(int fd, const std::string& path) {
  const int error = Flock(fd);
  if (error == 0) return absl::OkStatus();
  if (error == EWOULDBLOCK) {
    return absl::FailedPreconditionError(
        absl::StrCat("another coordinator (process ", ReadOwner(fd), ") uses the data directory ",
                     path, "; stop it, or give this one another directory"));
  }
  // Lustre without -o flock, NFS without its lock daemon, some FUSE and CIFS mounts: whether
  // another coordinator runs there cannot be known.
  return absl::FailedPreconditionError(absl::StrCat("the file system of the data directory ", path,
                                                    " has no locks (flock: ", std::strerror(error),
                                                    "); use a folder on a local disk"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Lock(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the data directory has no name");
  if (const absl::Status status = CheckDataFolder(path); !status.ok())
    return absl::IsDataLoss(status) ? status : CannotBeUsed(status);
  if (const absl::Status status = MakeFolders(path); !status.ok()) return CannotBeUsed(status);
  const std::string lock_path = absl::StrCat(path, "/", kLockName);
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return CannotBeUsed(ErrnoStatus(errno, absl::StrCat("creating ", lock_path)));
  const int folder_fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DataDir> dir(new DataDir(path, fd, folder_fd));
  EVOGRAD_RETURN_IF_ERROR(TakeLock(fd, path));
  // NFS locks no folder; the file's lock is what is relied on.
  if (folder_fd >= 0 && Flock(folder_fd) == EWOULDBLOCK) {
    return absl::FailedPreconditionError(
        absl::StrCat("another program holds a lock on the data directory ", path,
                     ", perhaps a coordinator whose file `lock` was removed; stop it, or give this "
                     "one another directory"));
  }
  const std::string owner = absl::StrCat(getpid(), "\n");
  // On a full disk the lock holds all the same; only its owner's number is missing.
  if (ftruncate(fd, 0) != 0 || pwrite(fd, owner.data(), owner.size(), 0) < 0) {
    const absl::Status status = ErrnoStatus(errno, absl::StrCat("writing ", lock_path));
    if (!absl::IsResourceExhausted(status)) return CannotBeUsed(status);
  }
  if (const absl::Status status = MakeFolders(dir->checkpoints_path()); !status.ok())
    return CannotBeUsed(status);
  return dir;
}

DataDir::~DataDir() {
  close(lock_fd_);
  if (folder_fd_ >= 0) close(folder_fd_);
}

}  // namespace evograd
