#include "common/errno_status.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace evograd {

absl::StatusCode ErrnoCode(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
      return absl::StatusCode::kResourceExhausted;
    case EIO:
    case EROFS:
    case EACCES:
    case EPERM:
    case EAGAIN:
    case EBUSY:
    case ESTALE:
    case ENODEV:
    case ENXIO:
    case ENOTCONN:
    case ECONNABORTED:
    case EHOSTDOWN:
    case ETIMEDOUT:
      return absl::StatusCode::kUnavailable;
    case ENOENT:
      return absl::StatusCode::kNotFound;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status ErrnoStatus(int error, absl::string_view doing) {
  return absl::Status(ErrnoCode(error), absl::StrCat(doing, ": ", std::strerror(error)));
}

}  // namespace evograd
