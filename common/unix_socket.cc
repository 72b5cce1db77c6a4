#include "common/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/errno_status.h"
#include "common/folders.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;

// In gRPC's addresses the others have a meaning of their own.
bool IsPlain(char c) { return absl::ascii_isalnum(c) || std::strchr("/._-+~=@,", c) != nullptr; }

// 0: somebody listens at the socket; else why it cannot be connected to.
int Dial(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int error =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  close(fd);
  return error;
}

}  // namespace

bool IsUnixAddress(absl::string_view address) { return absl::StartsWith(address, kUnixPrefix); }

absl::StatusOr<std::string> UnixSocketPath(absl::string_view address) {
  absl::string_view path = address;
  if (!absl::ConsumePrefix(&path, kUnixPrefix) || !absl::StartsWith(path, "/")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "`", address, "` is not the address of a socket; give unix:/PATH, the path in full"));
  }
  if (path.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the path of a socket may have ", kMaxPathBytes,
                                                   " bytes at most, but ", path, " has ",
                                                   path.size(), "; give a shorter one"));
  }
  if (!std::all_of(path.begin(), path.end(), IsPlain) || absl::EndsWith(path, "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("`", path,
                     "` cannot be the path of a socket; give one of a file, of letters, "
                     "digits and / . _ - + ~ = @ ,"));
  }
  return std::string(path);
}

absl::Status MakeWayForSocket(const std::string& path) {
  if (path.size() > kMaxPathBytes) return UnixSocketPath(kUnixPrefix + path).status();
  const std::string folder = path.substr(0, std::max<size_t>(1, path.rfind('/')));
  EVOGRAD_RETURN_IF_ERROR(MakeFolders(folder));
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) return ErrnoStatus(errno, folder);
  if ((info.st_mode & S_IWOTH) != 0 && (info.st_mode & S_ISVTX) == 0) {
    return absl::FailedPreconditionError(absl::StrCat("everybody may write in ", folder,
                                                      " and put another socket in the place of ",
                                                      path, "; name a folder of your own"));
  }
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(errno, path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " exists and is not a socket; it was not touched"));
  }
  const int error = Dial(path);
  if (error == ECONNREFUSED) {
    return unlink(path.c_str()) == 0 ? absl::OkStatus()
                                     : ErrnoStatus(errno, absl::StrCat("removing ", path));
  }
  if (error == ENOENT) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "another program listens at ", path,
      error == 0 || error == EAGAIN ? "" : absl::StrCat(" (", std::strerror(error), ")")));
}

}  // namespace evograd
