// Goal: entries reach who waits for them; waits end at their deadline and with the generation;
// sizes are bounded. Method: one thread puts what another waits for; each failure beside the case
// that succeeds.
#include "worker/collective/in_memory_rendezvous.h"

#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "common/limits.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

TEST(InMemoryRendezvous, BringsAnEntryToWhoWaits) {
  InMemoryRendezvous rendezvous;
  std::thread put(
      [&] { EXPECT_EQ(rendezvous.Put("key", std::string("a\0b", 3)), absl::OkStatus()); });
  const auto value = rendezvous.Wait("key", absl::InfiniteFuture());
  ASSERT_EQ(value.status(), absl::OkStatus());
  EXPECT_EQ(*value, std::string("a\0b", 3));
  put.join();
}

TEST(InMemoryRendezvous, NamesTheKeyThatDidNotCome) {
  InMemoryRendezvous rendezvous;
  const auto value = rendezvous.Wait("other key", absl::Now() + absl::Milliseconds(10));
  EXPECT_EQ(value.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(value.status().message().find("other key"), std::string::npos);
}

TEST(InMemoryRendezvous, EndsWithTheGeneration) {
  InMemoryRendezvous rendezvous;
  ASSERT_EQ(rendezvous.Put("key", "value"), absl::OkStatus());
  EXPECT_FALSE(rendezvous.Ended());
  std::thread end([&] { rendezvous.End(); });
  EXPECT_EQ(rendezvous.Wait("other", absl::InfiniteFuture()).status().code(),
            absl::StatusCode::kAborted);
  end.join();
  EXPECT_TRUE(rendezvous.Ended());
  EXPECT_EQ(rendezvous.Wait("key", absl::InfiniteFuture()).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(rendezvous.Put("key", "value").code(), absl::StatusCode::kAborted);
}

TEST(InMemoryRendezvous, BoundsItsEntries) {
  InMemoryRendezvous rendezvous;
  const std::string key(limits::kMaxRendezvousKeyBytes, 'k');
  const std::string value(limits::kMaxRendezvousValueBytes, 'v');
  EXPECT_EQ(rendezvous.Put(key, value), absl::OkStatus());
  EXPECT_EQ(rendezvous.Put(key + "k", value).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rendezvous.Put(key, value + "v").code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace evograd
