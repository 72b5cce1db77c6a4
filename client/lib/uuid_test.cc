// Goal: ids have the form of RFC 4122 version 4 and do not repeat. Method: form and distinctness of
// 1000.
#include "client/lib/uuid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace evograd {
namespace {

TEST(UuidTest, FormAndDistinctness) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = NewUuid();
    EXPECT_THAT(id, ::testing::MatchesRegex(
                        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 1000);
}

}  // namespace
}  // namespace evograd
