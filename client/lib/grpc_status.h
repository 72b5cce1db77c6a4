// The client's only place that turns a gRPC status into an absl::Status.
#ifndef EVOGRAD_CLIENT_LIB_GRPC_STATUS_H_
#define EVOGRAD_CLIENT_LIB_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"

namespace evograd {

// The same code and message, further lines of it indented; the details of the google.rpc.Status
// that travels with it
// (`grpc-status-details-bin`) become payloads (spec/error.h reads them). What gRPC itself says
// where nobody answered (UNAVAILABLE, DEADLINE_EXCEEDED, UNIMPLEMENTED without details) becomes a
// sentence that says so, with the ErrorInfo reason COORDINATOR_UNREACHABLE, COORDINATOR_TIMEOUT or
// COORDINATOR_UNKNOWN_METHOD. A call that was cut off from the other side (CANCELLED, which is
// never our own wish here) is UNAVAILABLE, COORDINATOR_STOPPED; where the socket at `address`, the
// one that was called, is another user's, PERMISSION_DENIED, COORDINATOR_PRIVATE.
absl::Status FromGrpc(const grpc::Status& status, const std::string& address);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_GRPC_STATUS_H_
