#include "client/lib/grpc_status.h"

#include <unistd.h>

#include <cerrno>
#include <map>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/unix_socket.h"
#include "spec/error.h"
#include "spec/retry.h"

namespace evograd {

namespace {

// Our own cancelling is not asked here: a coordinator that stops cancels the calls that it serves,
// and a connection cut in the middle of an answer has no status of its own.
bool IsCutOff(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::CANCELLED ||
         (status.error_code() == grpc::StatusCode::UNKNOWN &&
          status.error_message() == "Stream removed");
}

// Whether the socket's file is there for others.
bool IsForbidden(const std::string& address) {
  const absl::StatusOr<std::string> path = UnixSocketPath(address);
  return path.ok() && access(path->c_str(), W_OK) != 0 && errno == EACCES;
}

// What others wrote: its lines are told from ours by standing further right.
std::string Indented(const std::string& message) {
  return absl::StrReplaceAll(message, {{"\n", "\n  "}});
}

// What gRPC's words for it mean; empty where they may mean several things.
std::string WhyUnreachable(const std::string& said) {
  static constexpr char kClosed[] =
      ": it closed the connection, as a coordinator does that ends, or has as many as it can";
  static constexpr std::pair<const char*, const char*> kMeanings[] = {
      {"DNS resolution failed", ": the host's name is not known"},
      {"No such file or directory", ": there is no such socket"},
      {"Connection refused", ": the connection is refused, so nothing listens there"},
      {"No route to host", ": there is no route to the host"},
      {"Network is unreachable", ": there is no route to the host"},
      {"Connection timed out", ": the host does not answer"},
      {"tcp handshaker shutdown", ": the host does not answer"},
      {"before receiving SETTINGS frame", ": what listens there does not answer"},
      {"Socket closed", kClosed},
      {"Connection reset by peer", kClosed},
      {"http1.x server", ": what listens there is no coordinator"},
  };
  for (const auto& [words, meaning] : kMeanings) {
    if (absl::StrContains(said, words)) return meaning;
  }
  return "";
}

absl::Status Unreachable(const std::string& address, const std::string& said,
                         const std::map<std::string, std::string>& metadata) {
  if (IsForbidden(address)) {
    return MakeError(
        absl::StatusCode::kPermissionDenied,
        absl::StrCat("the coordinator at ", address, " is another user's, and serves nobody else"),
        "COORDINATOR_PRIVATE", metadata);
  }
  return MakeError(absl::StatusCode::kUnavailable,
                   absl::StrCat("no coordinator answers at ", address, WhyUnreachable(said),
                                "; start one with `evograd up` or name another with --coordinator"),
                   "COORDINATOR_UNREACHABLE", metadata);
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status, const std::string& address) {
  if (status.ok()) return absl::OkStatus();
  if (IsCutOff(status)) {
    return MakeError(absl::StatusCode::kUnavailable,
                     absl::StrCat("the coordinator at ", address,
                                  " cut the call off, as it does when it stops; try again, or look "
                                  "at its log"),
                     "COORDINATOR_STOPPED",
                     {{"address", address}, {"grpc", status.error_message()}});
  }
  const absl::Status detailed =
      StatusFromWire(status.error_code(), Indented(status.error_message()), status.error_details());
  bool has_details = false;
  detailed.ForEachPayload([&](absl::string_view, const absl::Cord&) { has_details = true; });
  if (has_details) return detailed;
  const std::map<std::string, std::string> metadata = {{"address", address},
                                                       {"grpc", status.error_message()}};
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return Unreachable(address, status.error_message(), metadata);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return MakeError(
          absl::StatusCode::kDeadlineExceeded,
          absl::StrCat("the coordinator at ", address,
                       " did not answer in time; look at its log, or wait longer with --timeout"),
          "COORDINATOR_TIMEOUT", metadata);
    case grpc::StatusCode::UNIMPLEMENTED:
      return MakeError(
          absl::StatusCode::kUnimplemented,
          absl::StrCat("what listens at ", address, " is no coordinator of this version (",
                       Indented(status.error_message()), ")"),
          "COORDINATOR_UNKNOWN_METHOD", metadata);
    default:
      return detailed;
  }
}

}  // namespace evograd
