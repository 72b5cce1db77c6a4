#include "worker/data/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/errno_status.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// Linux reads at most this much at a time.
constexpr int64_t kMaxReadBytes = 1 << 30;

}  // namespace

absl::Status FileReadError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": cannot be read: ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  switch (ErrnoCode(error)) {
    case absl::StatusCode::kResourceExhausted:
      return absl::ResourceExhaustedError(message);
    case absl::StatusCode::kUnavailable:
      // That is a lost peer's.
      return absl::InternalError(message);
    default:
      return absl::DataLossError(message);
  }
}

absl::StatusOr<FileBytes> FileBytes::Open(const std::string& path) {
  // A pipe without a writer would block.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return FileReadError(path, errno);
  FileBytes file;
  file.path_ = path;
  file.descriptor_ = std::shared_ptr<const int>(new int(descriptor), [](const int* held) {
    close(*held);
    delete held;
  });
  struct stat status;
  if (fstat(descriptor, &status) != 0) return FileReadError(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, ": is not a regular file"));
  }
  file.size_ = status.st_size;
  return file;
}

FileBytes FileBytes::Of(absl::string_view bytes, const std::string& name) {
  FileBytes file;
  file.path_ = name;
  file.memory_ = bytes.data();
  file.size_ = static_cast<int64_t>(bytes.size());
  return file;
}

absl::Status FileBytes::Read(int64_t offset, int64_t size, void* to,
                             const std::string& what) const {
  if (size > size_ - offset) {
    return absl::DataLossError(absl::StrCat(path_, ": ends at offset ", size_, " within ", what,
                                            " (", size - (size_ - offset),
                                            " bytes are missing); get the file again"));
  }
  if (descriptor_ == nullptr) {
    if (size > 0) std::memcpy(to, memory_ + offset, size);
    return absl::OkStatus();
  }
  int64_t done = 0;
  while (done < size) {
    const int64_t part = std::min(size - done, kMaxReadBytes);
    const ssize_t got = pread(*descriptor_, static_cast<char*>(to) + done, part, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileReadError(path_, errno);
    if (got == 0) {
      return absl::DataLossError(
          absl::StrCat(path_, ": became shorter while it was read, within ", what));
    }
    done += got;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFileBytes(const std::string& path, int64_t max_bytes) {
  EVOGRAD_ASSIGN_OR_RETURN(const FileBytes file, FileBytes::Open(path));
  if (file.size() > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": has more than the ", max_bytes, " bytes that such a file may have"));
  }
  std::string bytes(file.size(), '\0');
  EVOGRAD_RETURN_IF_ERROR(file.Read(0, file.size(), bytes.data(), "its bytes"));
  return bytes;
}

}  // namespace evograd
