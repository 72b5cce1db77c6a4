// Goal: the coordinator's own errors come through with their details, and gRPC's become sentences.
// Method: statuses built as a server would and as gRPC does.
#include "client/lib/grpc_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

grpc::Status WithDetails(grpc::StatusCode code, const std::string& message) {
  google::rpc::ErrorInfo info;
  info.set_reason("OVERLOADED");
  google::rpc::Status status;
  auto* detail = status.add_details();
  detail->set_type_url(kErrorInfoTypeUrl);
  detail->set_value(info.SerializeAsString());
  return grpc::Status(code, message, status.SerializeAsString());
}

TEST(FromGrpcTest, DetailsBecomePayloads) {
  const absl::Status status = FromGrpc(WithDetails(grpc::StatusCode::NOT_FOUND, "no job"), "a:1");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no job");
  EXPECT_EQ(GetErrorInfo(status).reason, "OVERLOADED");
  EXPECT_TRUE(FromGrpc(grpc::Status::OK, "a:1").ok());
}

TEST(FromGrpcTest, NobodyThereIsSaidPlainly) {
  const absl::Status absent =
      FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connect failed"), "a:1");
  EXPECT_EQ(absent.message(),
            "no coordinator answers at a:1; start one with `evograd up` or name another with "
            "--coordinator");
  EXPECT_EQ(GetErrorInfo(absent).reason, "COORDINATOR_UNREACHABLE");
  // Where gRPC says why, so do we: as it says of a name that nobody knows.
  const absl::Status unknown = FromGrpc(
      grpc::Status(grpc::StatusCode::UNAVAILABLE,
                   "DNS resolution failed for h.invalid:70: C-ares status is not ARES_SUCCESS "
                   "qtype=AAAA name=h.invalid is_balancer=0: Domain name not found"),
      "h.invalid:70");
  EXPECT_THAT(std::string(unknown.message()),
              HasSubstr("no coordinator answers at h.invalid:70: the host's name is not known"));
  EXPECT_EQ(GetErrorInfo(unknown).reason, "COORDINATOR_UNREACHABLE");
  // Its twin: a coordinator that says so itself.
  const absl::Status present =
      FromGrpc(WithDetails(grpc::StatusCode::UNAVAILABLE, "shutting down"), "a:1");
  EXPECT_EQ(present.message(), "shutting down");

  const absl::Status late =
      FromGrpc(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline"), "a:1");
  EXPECT_THAT(std::string(late.message()), HasSubstr("did not answer in time"));
  const absl::Status other =
      FromGrpc(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "unknown"), "a:1");
  EXPECT_THAT(std::string(other.message()), HasSubstr("is no coordinator"));
  EXPECT_EQ(FromGrpc(grpc::Status(grpc::StatusCode::ABORTED, "x"), "a:1").message(), "x");
}

TEST(FromGrpcTest, FurtherLinesStandFurtherRight) {
  const std::string two = "no job\nevograd: all is well";
  for (const grpc::Status& status : {WithDetails(grpc::StatusCode::NOT_FOUND, two),
                                     grpc::Status(grpc::StatusCode::ABORTED, two)}) {
    EXPECT_EQ(FromGrpc(status, "a:1").message(), "no job\n  evograd: all is well");
  }
}

TEST(FromGrpcTest, WhatTheOtherSideCancelsIsALostCoordinator) {
  for (const grpc::Status& status :
       {grpc::Status(grpc::StatusCode::CANCELLED, "CANCELLED"),
        WithDetails(grpc::StatusCode::CANCELLED, "the watcher is gone"),
        grpc::Status(grpc::StatusCode::UNKNOWN, "Stream removed")}) {
    EXPECT_EQ(FromGrpc(status, "a:1").code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(GetErrorInfo(FromGrpc(status, "a:1")).reason, "COORDINATOR_STOPPED");
    EXPECT_THAT(std::string(FromGrpc(status, "a:1").message()), HasSubstr("a:1"));
  }
  // Its twin: an error of the coordinator's own.
  EXPECT_EQ(FromGrpc(grpc::Status(grpc::StatusCode::UNKNOWN, "x"), "a:1").code(),
            absl::StatusCode::kUnknown);
}

}  // namespace
}  // namespace evograd
