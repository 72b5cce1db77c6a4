// The only place that turns an absl::Status into what gRPC sends. Pure.
#ifndef EVOGRAD_SERVER_RPC_STATUS_GRPC_H_
#define EVOGRAD_SERVER_RPC_STATUS_GRPC_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace evograd {

// Code and message, and a google.rpc.Status with all payloads as details in the trailer
// `grpc-status-details-bin`. A status without an ErrorInfo is given one whose reason is its code.
// One that passes by itself (UNAVAILABLE, RESOURCE_EXHAUSTED, and what a table of reasons adds or
// takes away) is given a RetryInfo: how long to wait before the next try. Trailers are small: where
// the details do not fit, the message is cut and only these two stay.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_STATUS_GRPC_H_
