// Goal: a rank finds what was put, whether before or after it began to wait, and never what belongs
// to another generation. Method: a waiting thread where one has to wait.
#include "worker/agent/rendezvous_table.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/time/clock.h"
#include "common/limits.h"

namespace evograd::agent {
namespace {

constexpr absl::Duration kLong = absl::Minutes(1);

TEST(RendezvousTableTest, AnEntryIsFoundBeforeAndAfterTheWait) {
  RendezvousTable table;
  table.Open(3);
  table.Deliver("a", "1");
  EXPECT_EQ(table.Wait(3, "a", absl::Now() + kLong).value(), "1");
  std::thread waiter([&] { EXPECT_EQ(table.Wait(3, "b", absl::Now() + kLong).value(), "2"); });
  table.Deliver("other", "0");
  table.Deliver("b", "2");
  waiter.join();
}

TEST(RendezvousTableTest, CloseEndsTheWait) {
  RendezvousTable table;
  table.Open(3);
  std::thread waiter(
      [&] { EXPECT_TRUE(absl::IsAborted(table.Wait(3, "a", absl::Now() + kLong).status())); });
  table.Close();
  waiter.join();
}

TEST(RendezvousTableTest, AnotherGenerationEndsTheWaitAndHasEntriesOfItsOwn) {
  RendezvousTable table;
  table.Open(3);
  table.Deliver("a", "1");
  table.Open(4);
  EXPECT_TRUE(absl::IsAborted(table.Wait(3, "a", absl::Now() + kLong).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(table.Wait(4, "a", absl::Now()).status()));
  table.Deliver("a", "2");
  EXPECT_EQ(table.Wait(4, "a", absl::Now()).value(), "2");
}

TEST(RendezvousTableTest, TheFaceOfOneGeneration) {
  RendezvousTable table;
  table.Open(3);
  std::string sent;
  StreamRendezvous rendezvous(&table, 3, [&](const std::string& key, const std::string& value) {
    sent = key + "=" + value;
  });
  EXPECT_TRUE(rendezvous.Put("k", "v").ok());
  EXPECT_EQ(sent, "k=v");
  EXPECT_FALSE(rendezvous.Ended());
  table.Deliver("k", "v");
  EXPECT_EQ(rendezvous.Wait("k", absl::Now() + kLong).value(), "v");
  table.Close();
  EXPECT_TRUE(rendezvous.Ended());
  EXPECT_TRUE(absl::IsAborted(rendezvous.Put("k", "v")));
}

TEST(RendezvousTableTest, KeysAndValuesAreBounded) {
  RendezvousTable table;
  table.Open(1);
  int sent = 0;
  StreamRendezvous rendezvous(&table, 1, [&](const std::string&, const std::string&) { ++sent; });
  const std::string key(limits::kMaxRendezvousKeyBytes, 'k');
  const std::string value(limits::kMaxRendezvousValueBytes, 'v');
  EXPECT_TRUE(rendezvous.Put(key, value).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(rendezvous.Put(key + "k", value)));
  EXPECT_TRUE(absl::IsInvalidArgument(rendezvous.Put("", value)));
  EXPECT_TRUE(absl::IsInvalidArgument(rendezvous.Put(key, value + "v")));
  EXPECT_EQ(sent, 1);
}

}  // namespace
}  // namespace evograd::agent
