// Goal: the ranks that an error points at survive as a set, and an error without them names none.
// Method: statuses with and without suspects, copied and added to.
#include "worker/collective/suspects.h"

#include <vector>

#include "gtest/gtest.h"

namespace evograd {
namespace {

using Ranks = std::vector<int>;

TEST(Suspects, AreWhatWasAdded) {
  absl::Status status = absl::UnavailableError("gone");
  EXPECT_EQ(Suspects(status), Ranks());
  status = Suspecting({2, 3}, Suspecting({11, 2}, status));
  const absl::Status copy = status;
  EXPECT_EQ(Suspects(copy), (Ranks{2, 3, 11}));
  EXPECT_EQ(copy.message(), "gone");
}

TEST(Suspects, SuccessHasNone) {
  const absl::Status status = Suspecting({1}, absl::OkStatus());
  EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(Suspects(status), Ranks());
}

TEST(Suspects, HaveNamesForPeople) {
  EXPECT_EQ(NamesOfRanks({}), "no rank");
  EXPECT_EQ(NamesOfRanks({3}), "rank 3");
  EXPECT_EQ(NamesOfRanks({1, 3}), "ranks 1 and 3");
  EXPECT_EQ(NamesOfRanks({1, 3, 4}), "ranks 1, 3 and 4");
  EXPECT_EQ(NamesOfRanks(Ranks(1000, 7)), "ranks 7, 7, 7, 7, 7, 7, 7, 7 and 992 more");
}

}  // namespace
}  // namespace evograd
