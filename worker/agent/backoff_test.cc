// Goal: waits double up to the bound, never leave the bounds, and begin anew after a reset. Method:
// the two ends of the jitter.
#include "worker/agent/backoff.h"

#include <gtest/gtest.h>

namespace evograd::agent {
namespace {

TEST(BackoffTest, DoublesUpToItsBound) {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(1));
  for (const int ms : {100, 200, 400, 800, 1000, 1000}) {
    EXPECT_LE(backoff.Next(0.999999), absl::Milliseconds(ms));
  }
  EXPECT_GT(backoff.Next(0.999999), absl::Milliseconds(999));
}

TEST(BackoffTest, JitterTakesAtMostHalf) {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(1));
  EXPECT_EQ(backoff.Next(0), absl::Milliseconds(100));  // never below the least
  EXPECT_EQ(backoff.Next(0), absl::Milliseconds(100));
  EXPECT_EQ(backoff.Next(0), absl::Milliseconds(200));
}

TEST(BackoffTest, BeginsAnewAfterReset) {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(1));
  for (int i = 0; i < 5; ++i) backoff.Next(0.5);
  backoff.Reset();
  EXPECT_EQ(backoff.Next(0), absl::Milliseconds(100));
}

}  // namespace
}  // namespace evograd::agent
