#include "server/rpc/status_grpc.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/service_limits.h"
#include "proto/google/rpc/status.pb.h"
#include "spec/error.h"
#include "spec/retry.h"

namespace evograd {
namespace {

// Message and details come twice in gRPC's trailers, and 8 KiB is what peers take by default.
constexpr size_t kMaxMessageBytes = 1500;
constexpr size_t kMaxDetailsBytes = 4000;

// Cut between UTF-8 characters.
std::string Shortened(absl::string_view message) {
  if (message.size() <= kMaxMessageBytes) return std::string(message);
  size_t size = kMaxMessageBytes;
  while (size > 0 && (message[size] & 0xC0) == 0x80) --size;
  return std::string(message.substr(0, size)) + "…";
}

// Reasons that pass otherwise than others of their code; 0: not by themselves, or the caller need
// not wait.
constexpr struct {
  const char* reason;
  int delay_ms;
} kDelayOfReason[] = {
    // What the data folder keeps for good.
    {"TOO_MANY_JOBS", 0},
    // The worker that is told so has been away for long enough.
    {"WORKER_LOST", 0},
    {"COORDINATOR_OVERLOADED", limits::kRetrySoonMs},
    {"TOO_MANY_PARTIAL_MESSAGES", limits::kRetrySoonMs},
    {"WORKER_TOO_SLOW", limits::kRetrySoonMs},
    {"TRANSFER_STALLED", limits::kRetrySoonMs},
};

int RetryDelayMs(const absl::Status& status) {
  const std::string reason = GetErrorInfo(status).reason;
  for (const auto& rule : kDelayOfReason) {
    if (reason == rule.reason) return rule.delay_ms;
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return limits::kRetrySoonMs;
    case absl::StatusCode::kResourceExhausted:
      return limits::kRetryRoomMs;
    default:
      return 0;
  }
}

bool IsShort(absl::string_view type_url) {
  return type_url == kErrorInfoTypeUrl || type_url == kRetryInfoTypeUrl;
}

google::rpc::Status DetailsOf(const absl::Status& status, const std::string& message, bool all) {
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    if (!all && !IsShort(type_url)) return;
    auto* detail = details.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(payload));
  });
  return details;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Shortened(status.message());
  const bool informed = status.GetPayload(kErrorInfoTypeUrl).has_value();
  absl::Status full =
      informed ? status
               : MakeError(status.code(), message, absl::StatusCodeToString(status.code()));
  const int delay_ms = RetryDelayMs(full);
  if (delay_ms > 0) SetRetryDelay(absl::Milliseconds(delay_ms), &full);
  google::rpc::Status details = DetailsOf(full, message, true);
  if (details.ByteSizeLong() > kMaxDetailsBytes) details = DetailsOf(full, message, false);
  std::string encoded;
  if (details.ByteSizeLong() <= kMaxDetailsBytes) encoded = details.SerializeAsString();
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message, encoded);
}

}  // namespace evograd
