#include "common/folders.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/errno_status.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// What fsync answers for a folder on CIFS, FUSE, NFS servers and the like that have no such thing.
bool CannotSyncFolders(int error) {
  return error == EINVAL || error == ENOTSUP || error == ENOSYS || error == EBADF;
}

}  // namespace

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("opening ", path));
  int error = 0;
  do {
    error = fsync(fd) == 0 ? 0 : errno;
  } while (error == EINTR);
  close(fd);
  if (error == 0 || CannotSyncFolders(error)) return absl::OkStatus();
  return ErrnoStatus(error, absl::StrCat("syncing ", path));
}

absl::Status MakeFolders(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("creating ", path, ": there is a file of this name"));
  }
  const std::string parent = ParentOf(path);
  if (parent != path) EVOGRAD_RETURN_IF_ERROR(MakeFolders(parent));
  if (mkdir(path.c_str(), 0700) == 0) {
    // An unusual umask takes the owner's own rights away.
    if (chmod(path.c_str(), 0700) != 0) return ErrnoStatus(errno, absl::StrCat("creating ", path));
  } else if (errno != EEXIST) {
    return ErrnoStatus(errno, absl::StrCat("creating ", path));
  }
  return SyncFolder(parent);
}

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return ErrnoStatus(errno, absl::StrCat("reading ", path));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const int error = errno;
  closedir(directory);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("reading ", path));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace evograd
