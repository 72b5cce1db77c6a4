#include "spec/retry.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "proto/google/rpc/retry_info.pb.h"
#include "proto/google/rpc/status.pb.h"

namespace evograd {

void SetRetryDelay(absl::Duration delay, absl::Status* status) {
  EVOGRAD_CHECK(delay >= absl::ZeroDuration(), "a delay is not negative");
  google::rpc::RetryInfo info;
  absl::Duration rest;
  info.mutable_retry_delay()->set_seconds(absl::IDivDuration(delay, absl::Seconds(1), &rest));
  info.mutable_retry_delay()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(rest)));
  status->SetPayload(kRetryInfoTypeUrl, absl::Cord(info.SerializeAsString()));
}

absl::optional<absl::Duration> GetRetryDelay(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kRetryInfoTypeUrl);
  google::rpc::RetryInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload)) ||
      !info.has_retry_delay()) {
    return absl::nullopt;
  }
  const absl::Duration delay =
      absl::Seconds(info.retry_delay().seconds()) + absl::Nanoseconds(info.retry_delay().nanos());
  if (delay < absl::ZeroDuration()) return absl::nullopt;
  return std::min(delay, absl::Duration(absl::Milliseconds(limits::kMaxRetryDelayMs)));
}

absl::Duration AtLeast(absl::optional<absl::Duration> asked, absl::Duration own, double uniform) {
  if (!asked.has_value()) return own;
  return std::max(own, *asked * (1 + 0.2 * uniform));
}

absl::Status StatusFromWire(int code, const std::string& message, const std::string& details) {
  absl::Status status(static_cast<absl::StatusCode>(code), message);
  google::rpc::Status wire;
  if (status.ok() || !wire.ParseFromString(details)) return status;
  for (const auto& detail : wire.details()) {
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return status;
}

}  // namespace evograd
