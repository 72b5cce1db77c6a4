// Goal: slots are granted in order, within the bounds of all and of each key, and none is lost.
// Method: calls in one thread; grants are written down.
#include "server/rpc/transfer_slots.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;

class TransferSlotsTest : public ::testing::Test {
 protected:
  absl::Status Acquire(TransferSlots* slots, const std::string& key, const std::string& name,
                       int64_t* ticket = nullptr) {
    return slots->Acquire(
        key,
        [this, name](std::unique_ptr<TransferSlots::Slot> slot) {
          granted_.push_back(name);
          held_[name] = std::move(slot);
        },
        ticket);
  }

  std::vector<std::string> granted_;
  std::map<std::string, std::unique_ptr<TransferSlots::Slot>> held_;
};

TEST_F(TransferSlotsTest, WaitersFollowInTheirOrder) {
  TransferSlots slots({2, 2, 10});
  for (const char* name : {"a", "b", "c", "d"}) EXPECT_TRUE(Acquire(&slots, name, name).ok());
  EXPECT_THAT(granted_, ElementsAre("a", "b"));
  held_["b"] = nullptr;
  EXPECT_THAT(granted_, ElementsAre("a", "b", "c"));
  held_["a"] = nullptr;
  EXPECT_THAT(granted_, ElementsAre("a", "b", "c", "d"));
  held_.clear();
}

TEST_F(TransferSlotsTest, OneKeyDoesNotTakeAll) {
  TransferSlots slots({3, 2, 10});
  for (const char* name : {"x1", "x2", "x3"}) EXPECT_TRUE(Acquire(&slots, "x", name).ok());
  EXPECT_THAT(granted_, ElementsAre("x1", "x2"));
  // Passes the one that waits for its key.
  EXPECT_TRUE(Acquire(&slots, "y", "y1").ok());
  EXPECT_THAT(granted_, ElementsAre("x1", "x2", "y1"));
  held_["y1"] = nullptr;
  EXPECT_THAT(granted_, ElementsAre("x1", "x2", "y1"));
  held_["x1"] = nullptr;
  EXPECT_THAT(granted_, ElementsAre("x1", "x2", "y1", "x3"));
  held_.clear();
}

TEST_F(TransferSlotsTest, TheNumberThatWaitsIsBounded) {
  TransferSlots slots({1, 1, 1});
  int64_t waits = 0;
  EXPECT_TRUE(Acquire(&slots, "a", "a").ok());
  EXPECT_TRUE(Acquire(&slots, "b", "b", &waits).ok());
  const absl::Status refused = Acquire(&slots, "c", "c");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(refused).reason, "TOO_MANY_TRANSFERS");
  slots.Forget(waits);
  EXPECT_TRUE(Acquire(&slots, "d", "d").ok());
  held_["a"] = nullptr;
  EXPECT_THAT(granted_, ElementsAre("a", "d"));
  slots.Forget(waits);
  held_.clear();
}

}  // namespace
}  // namespace evograd
