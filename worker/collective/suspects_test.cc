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
  AddSuspects(&status, {11, 2});
  AddSuspects(&status, {2, 3});
  const absl::Status copy = status;
  EXPECT_EQ(Suspects(copy), (Ranks{2, 3, 11}));
  EXPECT_EQ(copy.message(), "gone");
  EXPECT_EQ(Suspects(Suspecting({4}, absl::DeadlineExceededError("late"))), Ranks{4});
}

TEST(Suspects, SuccessHasNone) {
  absl::Status status;
  AddSuspects(&status, {1});
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
