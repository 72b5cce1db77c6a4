// Goal: what is put into an error comes out of it, and an error without details reads as empty.
// Method: build, read back, and read foreign and damaged statuses.
#include "spec/error.h"

#include <gtest/gtest.h>

#include "absl/strings/cord.h"

namespace evograd {
namespace {

TEST(ErrorTest, ErrorInfoComesBack) {
  const absl::Status status = MakeError(absl::StatusCode::kNotFound, "there is no job `jobs/x`",
                                        "JOB_NOT_FOUND", {{"job", "jobs/x"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "there is no job `jobs/x`");
  const ErrorInfo info = GetErrorInfo(status);
  EXPECT_EQ(info.reason, "JOB_NOT_FOUND");
  EXPECT_EQ(info.domain, "evograd");
  EXPECT_EQ(info.metadata.at("job"), "jobs/x");
  EXPECT_TRUE(GetFieldViolations(status).empty());
}

TEST(ErrorTest, InvalidFieldsNamesTheFirstAndCarriesAll) {
  const std::vector<FieldViolation> one = {{"steps", "0 is too few"}};
  EXPECT_EQ(InvalidFields(one).message(), "steps: 0 is too few");

  const std::vector<FieldViolation> two = {{"steps", "0 is too few"},
                                           {"estimator.tau", "-1 is negative"}};
  const absl::Status status = InvalidFields(two);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "steps: 0 is too few (1 more field is wrong)");
  EXPECT_EQ(GetErrorInfo(status).reason, "INVALID_FIELDS");
  EXPECT_EQ(GetFieldViolations(status), two);
}

TEST(ErrorTest, ForeignAndDamagedDetailsReadAsEmpty) {
  EXPECT_EQ(GetErrorInfo(absl::InternalError("x")).reason, "");
  absl::Status damaged = absl::InternalError("x");
  damaged.SetPayload(kErrorInfoTypeUrl, absl::Cord("\xff\xff\xff"));
  damaged.SetPayload(kBadRequestTypeUrl, absl::Cord("\xff\xff\xff"));
  EXPECT_EQ(GetErrorInfo(damaged).reason, "");
  EXPECT_TRUE(GetFieldViolations(damaged).empty());
}

}  // namespace
}  // namespace evograd
