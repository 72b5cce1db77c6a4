#include "worker/data/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;

absl::Status FileError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": cannot be read: ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::DataLossError(message);
}

}  // namespace

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t max_bytes) {
  // Without O_NONBLOCK a pipe would wait for its writer.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return FileError(path, errno);
  const absl::Cleanup close_file = [file] { close(file); };
  struct stat status;
  if (fstat(file, &status) != 0) return FileError(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, ": is not a regular file"));
  }
  // What fstat says may be wrong by the time that the end is reached, so the bound is on bytes.
  std::string bytes;
  int64_t wanted = std::min<int64_t>(status.st_size, max_bytes) + 1;
  int64_t size = 0;
  while (true) {
    bytes.resize(size + wanted);
    const ssize_t got = read(file, bytes.data() + size, wanted);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path, errno);
    if (got == 0) break;
    size += got;
    if (size > max_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(path, ": has more than the ", max_bytes,
                                                       " bytes that such a file may have"));
    }
    wanted = kChunkBytes;
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace evograd
