// Goal: a delay that was put into an error comes out of it, nothing that a stranger writes there
// makes a caller wait without bound, and nobody comes earlier than asked. Method: build, read back,
// read foreign and damaged payloads; the ends of the jitter.
#include "spec/retry.h"

#include <gtest/gtest.h>

#include "absl/strings/cord.h"
#include "common/service_limits.h"
#include "proto/google/rpc/retry_info.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "spec/error.h"

namespace evograd {
namespace {

absl::Status WithSeconds(int64_t seconds, int nanos) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(seconds);
  info.mutable_retry_delay()->set_nanos(nanos);
  absl::Status status = absl::UnavailableError("x");
  status.SetPayload(kRetryInfoTypeUrl, absl::Cord(info.SerializeAsString()));
  return status;
}

TEST(RetryTest, DelaysComeBackBesideTheReason) {
  for (const absl::Duration delay :
       {absl::ZeroDuration(), absl::Milliseconds(1), absl::Milliseconds(1500), absl::Seconds(7)}) {
    absl::Status status = MakeError(absl::StatusCode::kUnavailable, "away", "AWAY");
    SetRetryDelay(delay, &status);
    EXPECT_EQ(GetRetryDelay(status), delay);
    EXPECT_EQ(GetErrorInfo(status).reason, "AWAY");
  }
}

TEST(RetryTest, WhatNobodyCanWaitByIsNothingOrBounded) {
  EXPECT_EQ(GetRetryDelay(absl::UnavailableError("x")), absl::nullopt);
  EXPECT_EQ(GetRetryDelay(absl::OkStatus()), absl::nullopt);
  EXPECT_EQ(GetRetryDelay(WithSeconds(-1, 0)), absl::nullopt);
  EXPECT_EQ(GetRetryDelay(WithSeconds(0, -5)), absl::nullopt);
  absl::Status damaged = absl::UnavailableError("x");
  damaged.SetPayload(kRetryInfoTypeUrl, absl::Cord("\xff\xff\xff"));
  EXPECT_EQ(GetRetryDelay(damaged), absl::nullopt);
  damaged.SetPayload(kRetryInfoTypeUrl, absl::Cord(""));
  EXPECT_EQ(GetRetryDelay(damaged), absl::nullopt);
  for (const int64_t seconds : {int64_t{86'400}, int64_t{1} << 62}) {
    EXPECT_EQ(GetRetryDelay(WithSeconds(seconds, 0)), absl::Milliseconds(limits::kMaxRetryDelayMs));
  }
}

TEST(RetryTest, NobodyComesEarlierThanAsked) {
  const absl::Duration own = absl::Milliseconds(100);
  EXPECT_EQ(AtLeast(absl::nullopt, own, 0.9), own);
  EXPECT_EQ(AtLeast(absl::Seconds(5), own, 0), absl::Seconds(5));
  EXPECT_EQ(AtLeast(absl::Seconds(5), own, 0.5), absl::Milliseconds(5500));
  // Who would wait longer anyway does.
  EXPECT_EQ(AtLeast(absl::Seconds(5), absl::Seconds(20), 0.5), absl::Seconds(20));
}

TEST(RetryTest, DetailsFromTheWireBecomePayloads) {
  absl::Status sent = MakeError(absl::StatusCode::kResourceExhausted, "full", "FULL");
  SetRetryDelay(absl::Seconds(3), &sent);
  google::rpc::Status wire;
  sent.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    auto* detail = wire.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(payload));
  });
  const int code = static_cast<int>(sent.code());
  EXPECT_EQ(StatusFromWire(code, "full", wire.SerializeAsString()), sent);
  EXPECT_EQ(StatusFromWire(code, "full", "\xff\xff"), absl::ResourceExhaustedError("full"));
  EXPECT_EQ(StatusFromWire(code, "full", ""), absl::ResourceExhaustedError("full"));
  EXPECT_TRUE(StatusFromWire(0, "", wire.SerializeAsString()).ok());
}

}  // namespace
}  // namespace evograd
