// Goal: a page token leads back to where its list stopped, and nothing else is taken for one.
// Method: round trips, and tokens that are foreign, cut or made up.

#include "server/core/page_token.h"

#include <string>

#include "common/service_limits.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

TEST(PageToken, LeadsBack) {
  EXPECT_EQ(ReadPageToken("workers", MakePageToken("workers", "w/1")).value(), "w/1");
  EXPECT_EQ(ReadPageToken("workers", "").value(), "");
  EXPECT_EQ(ReadNumberToken("jobs", MakePageToken("jobs", "17"), 5).value(), 17);
  EXPECT_EQ(ReadNumberToken("jobs", "", 5).value(), 5);
}

TEST(PageToken, OthersAreRefused) {
  const std::string good = MakePageToken("jobs", "17");
  for (const std::string& bad :
       {MakePageToken("workers", "17"), MakePageToken("jobs", "x"), MakePageToken("jobs", ""),
        good.substr(1), std::string("%%%"), std::string("17")}) {
    EXPECT_EQ(ReadNumberToken("jobs", bad, 0).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST(PageToken, SizesAreBounded) {
  EXPECT_EQ(PageSize(0).value(), limits::kDefaultPageSize);
  EXPECT_EQ(PageSize(7).value(), 7);
  EXPECT_EQ(PageSize(limits::kMaxPageSize + 1).value(), limits::kMaxPageSize);
  EXPECT_EQ(PageSize(-1).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace evograd
