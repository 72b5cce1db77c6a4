// What an errno of a file means to whoever asked for the file: one table for all of the disk.
//
//   if (fsync(fd) != 0) return ErrnoStatus(errno, absl::StrCat("syncing ", path));
#ifndef EVOGRAD_COMMON_ERRNO_STATUS_H_
#define EVOGRAD_COMMON_ERRNO_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace evograd {

// RESOURCE_EXHAUSTED: the disk, the files or the memory of this process or machine are used up;
// UNAVAILABLE: the disk or its server does not do it now; both may pass, whatever was asked for.
// NOT_FOUND: there is no such file. INTERNAL: anything else.
absl::StatusCode ErrnoCode(int error);

// "`doing`: strerror".
absl::Status ErrnoStatus(int error, absl::string_view doing);

}  // namespace evograd

#endif  // EVOGRAD_COMMON_ERRNO_STATUS_H_
