// Addresses of sockets that are files: "unix:/run/user/1000/evograd". Who may write to the file may
// connect, and nobody from another machine.
//
//   EVOGRAD_ASSIGN_OR_RETURN(std::string path, UnixSocketPath("unix:/run/evograd/socket"));
//   EVOGRAD_RETURN_IF_ERROR(MakeWayForSocket(path));
//   ... bind
//
// Threads: any.
#ifndef EVOGRAD_COMMON_UNIX_SOCKET_H_
#define EVOGRAD_COMMON_UNIX_SOCKET_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

inline constexpr char kUnixPrefix[] = "unix:";

bool IsUnixAddress(absl::string_view address);

// The file of a unix address. INVALID_ARGUMENT: it is none, its path is relative, longer than the
// kernel takes (107 bytes), or has characters that an address cannot have.
absl::StatusOr<std::string> UnixSocketPath(absl::string_view address);

// Before a bind: makes the folder where it is missing, for its owner alone, and removes a socket at
// which nobody listens any more. FAILED_PRECONDITION: somebody listens there, or the file is none
// of a socket's and stays as it is, or everybody may put another one in its place.
absl::Status MakeWayForSocket(const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_COMMON_UNIX_SOCKET_H_
