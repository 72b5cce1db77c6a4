// Goal: each error code ends either the generation or the job, as engine.h says, and texts are fit
// for the wire. Method: tables.
#include "worker/core/failure.h"

#include <gtest/gtest.h>

#include "common/service_limits.h"

namespace evograd::agent {
namespace {

TEST(FailureTest, OnlyTheGenerationEndsWhenAPeerIsLost) {
  for (const auto code : {absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded,
                          absl::StatusCode::kAborted, absl::StatusCode::kCancelled}) {
    EXPECT_TRUE(EndsOnlyTheGeneration(absl::Status(code, "x"))) << code;
  }
}

TEST(FailureTest, TheJobFailsOnWhatEveryWorkerWouldMeet) {
  for (const auto code : {absl::StatusCode::kInvalidArgument, absl::StatusCode::kNotFound,
                          absl::StatusCode::kDataLoss, absl::StatusCode::kFailedPrecondition,
                          absl::StatusCode::kOutOfRange, absl::StatusCode::kResourceExhausted,
                          absl::StatusCode::kInternal, absl::StatusCode::kUnimplemented,
                          absl::StatusCode::kUnknown}) {
    EXPECT_FALSE(EndsOnlyTheGeneration(absl::Status(code, "x"))) << code;
  }
}

TEST(FailureTest, Utf8StaysAsItIs) {
  for (const char* text : {"", "plain", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"}) {
    EXPECT_EQ(CleanText(text), text);
  }
}

TEST(FailureTest, WhatIsNotUtf8IsReplacedByteByByte) {
  EXPECT_EQ(CleanText("a\xFF"
                      "b"),
            "a?b");
  EXPECT_EQ(CleanText("\xC3"), "?");                 // cut short
  EXPECT_EQ(CleanText("\xC0\x80"), "??");            // overlong
  EXPECT_EQ(CleanText("\xE0\x80\x80"), "???");       // overlong
  EXPECT_EQ(CleanText("\xED\xA0\x80"), "???");       // surrogate
  EXPECT_EQ(CleanText("\xF4\x90\x80\x80"), "????");  // beyond U+10FFFF
}

TEST(FailureTest, LongTextIsCutBetweenCharacters) {
  const std::string exact(limits::kMaxWorkerTextBytes, 'x');
  EXPECT_EQ(CleanText(exact), exact);
  EXPECT_EQ(CleanText(exact + "y"), exact);
  const std::string almost = exact.substr(1);
  EXPECT_EQ(CleanText(almost + "\xC3\xA9"), almost);
}

}  // namespace
}  // namespace evograd::agent
