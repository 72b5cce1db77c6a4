// Goal: every error arrives with its code, its message and its details, and never larger than a
// trailer may be. Method: statuses are mapped and their details parsed as a client does.

#include "server/rpc/status_grpc.h"

#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "spec/error.h"
#include "spec/retry.h"

namespace evograd {
namespace {

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

absl::Status AsReceived(const grpc::Status& status) {
  return StatusFromWire(status.error_code(), status.error_message(), status.error_details());
}

TEST(StatusGrpc, CodesAndDetailsArrive) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status = ToGrpc(
        MakeError(static_cast<absl::StatusCode>(code), "why", "REASON", {{"job", "jobs/x"}}));
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(status.error_message(), "why");
    const google::rpc::Status details = DetailsOf(status);
    EXPECT_EQ(details.code(), code);
    const ErrorInfo info = GetErrorInfo(AsReceived(status));
    EXPECT_EQ(info.reason, "REASON");
    EXPECT_EQ(info.metadata.at("job"), "jobs/x");
  }
}

TEST(StatusGrpc, WhatPassesByItselfSaysWhenToTryAgain) {
  for (int number = 1; number <= 16; ++number) {
    const auto code = static_cast<absl::StatusCode>(number);
    const bool passes =
        code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kResourceExhausted;
    for (const absl::Status& status :
         {MakeError(code, "why", "REASON"), absl::Status(code, "without details")}) {
      const auto delay = GetRetryDelay(AsReceived(ToGrpc(status)));
      EXPECT_EQ(delay.has_value(), passes) << status;
      if (passes) {
        EXPECT_GT(*delay, absl::ZeroDuration());
      }
    }
  }
  const auto delay_of = [](absl::StatusCode code, const char* reason) {
    return GetRetryDelay(AsReceived(ToGrpc(MakeError(code, "why", reason))));
  };
  using Code = absl::StatusCode;
  EXPECT_EQ(delay_of(Code::kResourceExhausted, "TOO_MANY_TRANSFERS"), absl::Seconds(5));
  EXPECT_EQ(delay_of(Code::kResourceExhausted, "COORDINATOR_OVERLOADED"), absl::Seconds(1));
  EXPECT_EQ(delay_of(Code::kDeadlineExceeded, "TRANSFER_STALLED"), absl::Seconds(1));
  // What stays as it is, however long one waits.
  EXPECT_FALSE(delay_of(Code::kResourceExhausted, "TOO_MANY_JOBS").has_value());
  EXPECT_FALSE(delay_of(Code::kAborted, "STALE_GENERATION").has_value());
}

TEST(StatusGrpc, AStatusWithoutDetailsIsGivenThem) {
  const google::rpc::Status details = DetailsOf(ToGrpc(absl::DataLossError("gone")));
  ASSERT_EQ(details.details_size(), 1);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(info.ParseFromString(details.details(0).value()));
  EXPECT_EQ(info.reason(), "DATA_LOSS");
  EXPECT_EQ(info.domain(), "evograd");
}

TEST(StatusGrpc, FieldsArriveWhereTheyFitATrailer) {
  std::vector<FieldViolation> few(3, {"spec.steps", "is wrong"});
  EXPECT_EQ(DetailsOf(ToGrpc(InvalidFields(few))).details_size(), 2);
  std::vector<FieldViolation> many(200, {"spec.steps", std::string(100, 'x')});
  const grpc::Status status = ToGrpc(InvalidFields(many));
  EXPECT_EQ(DetailsOf(status).details_size(), 1);
  absl::Status busy = MakeError(absl::StatusCode::kUnavailable, "x", "BUSY");
  busy.SetPayload("type.googleapis.com/lengthy", absl::Cord(std::string(9000, 'y')));
  EXPECT_TRUE(GetRetryDelay(AsReceived(ToGrpc(busy))).has_value());
  const grpc::Status lengthy =
      ToGrpc(absl::InternalError(absl::StrCat("x", std::string(1499, 'y'), "€uro")));
  EXPECT_EQ(lengthy.error_message(), absl::StrCat("x", std::string(1499, 'y'), "…"));
  for (const grpc::Status& one : {status, lengthy}) {
    EXPECT_LT(one.error_message().size() + one.error_details().size(), 6000);
  }
}

}  // namespace
}  // namespace evograd
