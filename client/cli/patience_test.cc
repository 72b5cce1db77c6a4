// Goal: what passes is waited for, what does not is answered at once. Method: calls that answer as
// the test tells them.
#include "client/cli/patience.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;

TEST(PatienceTest, WhatMayPassIsTriedAgain) {
  const std::vector<absl::Status> answers = {absl::UnavailableError(""),
                                             absl::DeadlineExceededError(""), absl::OkStatus()};
  int calls = 0;
  const auto call = [&]() -> absl::StatusOr<int> {
    const absl::Status& answer = answers[calls++];
    if (!answer.ok()) return answer;
    return 7;
  };
  const absl::StatusOr<int> result = Patiently(Stopper(), absl::InfiniteFuture(), call);
  EXPECT_EQ(*result, 7);
  EXPECT_EQ(calls, 3);
}

TEST(PatienceTest, WhatDoesNotPassIsAnsweredAtOnce) {
  for (const absl::Status& answer :
       {absl::NotFoundError(""), absl::ResourceExhaustedError("too many jobs, for good"),
        MakeError(absl::StatusCode::kResourceExhausted, "the disk is full", "FILE_NOT_WRITTEN")}) {
    int calls = 0;
    EXPECT_EQ(Patiently(Stopper(), absl::InfiniteFuture(), [&] { return ++calls, answer; }),
              answer);
    EXPECT_EQ(calls, 1);
  }
}

TEST(PatienceTest, ItEndsByADeadlineAndByAStop) {
  int calls = 0;
  const auto call = [&] { return ++calls, absl::UnavailableError(""); };
  EXPECT_TRUE(absl::IsUnavailable(Patiently(Stopper(), absl::InfinitePast(), call)));
  Stopper stopper;
  stopper.Stop();
  EXPECT_TRUE(absl::IsUnavailable(Patiently(stopper, absl::InfiniteFuture(), call)));
  EXPECT_EQ(calls, 2);
}

TEST(FetchChosenTest, ACheckpointThatIsGoneIsChosenAnew) {
  int64_t last = 5;
  std::vector<int64_t> fetched;
  EXPECT_TRUE(FetchChosen([&] { return last++; },
                          [&](int64_t step) {
                            fetched.push_back(step);
                            return step < 7 ? absl::NotFoundError("gone") : absl::OkStatus();
                          })
                  .ok());
  EXPECT_THAT(fetched, ElementsAre(5, 6, 7));
  // Not without end, and not the same one again.
  fetched.clear();
  const auto gone = [&](int64_t step) {
    fetched.push_back(step);
    return absl::NotFoundError("gone");
  };
  EXPECT_EQ(FetchChosen([&] { return last++; }, gone).message(), "gone");
  EXPECT_EQ(FetchChosen([] { return 3; }, gone).message(), "gone");
  EXPECT_THAT(fetched, ElementsAre(8, 9, 10, 3));
}

}  // namespace
}  // namespace evograd
