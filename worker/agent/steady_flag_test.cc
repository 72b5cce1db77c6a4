// Goal: a wait does not follow the time of day. Method: this program's own clock_gettime, which the
// libraries in it call, puts the time of day forward by an hour; a wait that followed it would last
// that hour (the test's time limit).
#include "worker/agent/steady_flag.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/time/clock.h"

namespace {
std::atomic<int64_t> clock_is_ahead_seconds{0};
}  // namespace

extern "C" int clock_gettime(clockid_t clock, struct timespec* time) noexcept {
  const int result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (clock == CLOCK_REALTIME) time->tv_sec += clock_is_ahead_seconds;
  return result;
}

namespace evograd::agent {
namespace {

TEST(SteadyFlagTest, AWaitIsAsLongAsItSaysWhateverTheTimeOfDay) {
  const absl::Time before = absl::Now();
  clock_is_ahead_seconds = 3600;
  // The twin: the libraries do see the other time.
  EXPECT_GE(absl::Now() - before, absl::Minutes(59));
  SteadyFlag flag;
  EXPECT_FALSE(flag.WaitFor(absl::Milliseconds(20)));
  clock_is_ahead_seconds = 0;
}

TEST(SteadyFlagTest, SetEndsAWait) {
  SteadyFlag flag;
  EXPECT_FALSE(flag.IsSet());
  std::thread waiter([&] { EXPECT_TRUE(flag.WaitFor(absl::Hours(1))); });
  flag.Set();
  waiter.join();
  EXPECT_TRUE(flag.WaitFor(absl::ZeroDuration()));
  flag.Reset();
  EXPECT_FALSE(flag.WaitFor(absl::ZeroDuration()));
}

}  // namespace
}  // namespace evograd::agent
