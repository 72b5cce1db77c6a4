// When to try again: an error that passes by itself carries a google.rpc.RetryInfo beside its
// ErrorInfo, which says how long its caller should wait at least. The coordinator puts it there
// (server/rpc/status_grpc.h); the client library and the workers wait by it.
//
//   absl::Status status = StatusFromWire(code, message, details);   // of a call that failed
//   if (const auto asked = GetRetryDelay(status)) wait for AtLeast(asked, own_back_off, uniform);
//
// Pure functions.
#ifndef EVOGRAD_SPEC_RETRY_H_
#define EVOGRAD_SPEC_RETRY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace evograd {

inline constexpr char kRetryInfoTypeUrl[] = "type.googleapis.com/google.rpc.RetryInfo";

// `delay` is not negative.
void SetRetryDelay(absl::Duration delay, absl::Status* status);

// Nothing where `status` has no RetryInfo, or one that cannot be read or is no length of time; at
// most limits::kMaxRetryDelayMs, whatever it says.
absl::optional<absl::Duration> GetRetryDelay(const absl::Status& status);

// How long to wait before the next try: as long as the caller would of itself, and not less than
// what it was asked for, with up to a fifth of that on top so that many callers do not come at
// once. `uniform` lies in [0, 1).
absl::Duration AtLeast(absl::optional<absl::Duration> asked, absl::Duration own, double uniform);

// The status that a call ended with, with the details that came beside it (a serialised
// google.rpc.Status) as payloads. Details that cannot be read are left out.
absl::Status StatusFromWire(int code, const std::string& message, const std::string& details);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_RETRY_H_
