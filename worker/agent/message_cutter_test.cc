// Goal: the parts of a message are bounded and put together again are the message. Method: lengths
// around multiples of a part's.
#include "worker/agent/message_cutter.h"

#include <gtest/gtest.h>

namespace evograd::agent {
namespace {

constexpr size_t kPart = 100;

v1::WorkerMessage MessageOfBytes(size_t bytes) {
  v1::WorkerMessage message;
  message.mutable_released()->set_job("");
  while (message.ByteSizeLong() < bytes) message.mutable_released()->mutable_job()->push_back('x');
  return message;
}

TEST(MessageCutterTest, PartsMakeTheMessage) {
  MessageCutter cutter(kPart);
  for (const size_t bytes : {kPart + 1, 2 * kPart - 1, 2 * kPart, 2 * kPart + 1, 7 * kPart}) {
    const v1::WorkerMessage whole = MessageOfBytes(bytes);
    ASSERT_TRUE(cutter.IsLong(whole));
    cutter.Begin(whole);
    std::string joined;
    size_t parts = 0;
    for (bool last = false; cutter.HasMore(); ++parts) {
      EXPECT_FALSE(last);
      const v1::WorkerMessage message = cutter.Next();
      ASSERT_TRUE(message.has_part());
      EXPECT_GE(message.part().piece().size(), 1);
      EXPECT_LE(message.part().piece().size(), kPart);
      last = message.part().last();
      EXPECT_EQ(last, !cutter.HasMore());
      joined += message.part().piece();
    }
    EXPECT_EQ(parts, (whole.ByteSizeLong() + kPart - 1) / kPart);
    EXPECT_EQ(joined, whole.SerializeAsString());
  }
}

TEST(MessageCutterTest, AShortMessageStaysWhole) {
  const MessageCutter cutter(kPart);
  EXPECT_FALSE(cutter.IsLong(MessageOfBytes(kPart)));
  EXPECT_TRUE(cutter.IsLong(MessageOfBytes(kPart + 1)));
}

TEST(MessageCutterTest, ClearForgetsTheRest) {
  MessageCutter cutter(kPart);
  cutter.Begin(MessageOfBytes(3 * kPart));
  cutter.Next();
  cutter.Clear();
  EXPECT_FALSE(cutter.HasMore());
}

}  // namespace
}  // namespace evograd::agent
