// Goal: messages leave in order, heartbeats are never held up, not by a long message either, a full
// box closes. Method: calls in
// one thread; a second one where something has to wait.
#include "worker/agent/outbox.h"

#include <gtest/gtest.h>

#include <thread>

namespace evograd::agent {
namespace {

v1::WorkerMessage Message(const std::string& job) {
  v1::WorkerMessage message;
  message.mutable_released()->set_job(job);
  return message;
}

std::string TakeJob(Outbox* outbox) {
  v1::WorkerMessage message;
  if (!outbox->Take(&message)) return "closed";
  return message.has_heartbeat() ? "heartbeat" : message.released().job();
}

TEST(OutboxTest, MessagesLeaveInOrderAndHeartbeatsFirst) {
  Outbox outbox(4);
  outbox.Open();
  outbox.Push(Message("a"));
  outbox.Push(Message("b"));
  outbox.PushHeartbeat({});
  outbox.PushHeartbeat({});
  EXPECT_EQ(TakeJob(&outbox), "heartbeat");
  EXPECT_EQ(TakeJob(&outbox), "a");
  EXPECT_EQ(TakeJob(&outbox), "b");
}

TEST(OutboxTest, HeartbeatsGoBetweenThePartsOfALongMessage) {
  Outbox outbox(4, 100);
  outbox.Open();
  const v1::WorkerMessage whole = Message(std::string(350, 'x'));
  outbox.Push(whole);
  outbox.Push(Message("next"));
  std::string joined;
  for (bool last = false; !last;) {
    v1::WorkerMessage message;
    ASSERT_TRUE(outbox.Take(&message));
    ASSERT_TRUE(message.has_part());
    joined += message.part().piece();
    last = message.part().last();
    v1::Heartbeat heartbeat;
    heartbeat.set_doing("step 12");
    outbox.PushHeartbeat(heartbeat);
    ASSERT_TRUE(outbox.Take(&message));
    EXPECT_EQ(message.heartbeat().doing(), "step 12");
  }
  EXPECT_EQ(joined, whole.SerializeAsString());
  EXPECT_EQ(TakeJob(&outbox), "next");
}

TEST(OutboxTest, ANewStreamBeginsWithNoRestOfTheOld) {
  Outbox outbox(4, 100);
  outbox.Open();
  outbox.Push(Message(std::string(350, 'x')));
  v1::WorkerMessage message;
  ASSERT_TRUE(outbox.Take(&message));
  outbox.Close();
  outbox.Open();
  outbox.Push(Message("a"));
  EXPECT_EQ(TakeJob(&outbox), "a");
}

TEST(OutboxTest, AFullBoxCloses) {
  Outbox outbox(2);
  outbox.Open();
  outbox.Push(Message("a"));
  outbox.Push(Message("b"));
  EXPECT_FALSE(outbox.overflowed());
  outbox.Push(Message("c"));
  EXPECT_TRUE(outbox.overflowed());
  EXPECT_EQ(TakeJob(&outbox), "closed");
  outbox.Open();
  EXPECT_FALSE(outbox.overflowed());
  outbox.Push(Message("d"));
  EXPECT_EQ(TakeJob(&outbox), "d");
}

TEST(OutboxTest, WhatIsPushedWhileClosedIsLost) {
  Outbox outbox(2);
  outbox.Push(Message("a"));
  outbox.Open();
  outbox.Push(Message("b"));
  EXPECT_EQ(TakeJob(&outbox), "b");
  outbox.Push(Message("c"));
  outbox.Close();
  EXPECT_EQ(TakeJob(&outbox), "closed");
}

TEST(OutboxTest, CloseEndsAWaitingTake) {
  Outbox outbox(2);
  outbox.Open();
  std::thread taker([&] { EXPECT_EQ(TakeJob(&outbox), "closed"); });
  outbox.Close();
  taker.join();
}

}  // namespace
}  // namespace evograd::agent
