// Goal: parts become the message that was cut; a wrong sequence, a message that is too long and too
// many bytes of unfinished ones are refused. Method: small bounds; each refusal has a twin that is
// taken.
#include "server/rpc/message_joiner.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

v1::WorkerMessage Released(const std::string& job) {
  v1::WorkerMessage message;
  message.mutable_released()->set_job(job);
  return message;
}

v1::WorkerMessage Part(const std::string& piece, bool last) {
  v1::WorkerMessage message;
  message.mutable_part()->set_piece(piece);
  message.mutable_part()->set_last(last);
  return message;
}

std::vector<v1::WorkerMessage> Cut(const v1::WorkerMessage& whole, size_t part_bytes) {
  const std::string bytes = whole.SerializeAsString();
  std::vector<v1::WorkerMessage> parts;
  for (size_t at = 0; at < bytes.size(); at += part_bytes) {
    parts.push_back(Part(bytes.substr(at, part_bytes), at + part_bytes >= bytes.size()));
  }
  return parts;
}

bool IsHeard(const absl::StatusOr<v1::WorkerMessage>& message) {
  return message.ok() && message->has_part() && message->part().piece().empty();
}

class MessageJoinerTest : public ::testing::Test {
 protected:
  MessageJoiner::Budget budget_;
};

TEST_F(MessageJoinerTest, PartsAreJoinedAndHeartbeatsPassBetweenThem) {
  MessageJoiner joiner(&budget_);
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat()->set_doing("step 3");
  for (int round = 0; round < 2; ++round) {
    const v1::WorkerMessage whole = Released(std::string(350, 'x'));
    const std::vector<v1::WorkerMessage> parts = Cut(whole, 100);
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      EXPECT_TRUE(IsHeard(joiner.Take(parts[i])));
      EXPECT_EQ(joiner.Take(heartbeat)->heartbeat().doing(), "step 3");
    }
    const absl::StatusOr<v1::WorkerMessage> joined = joiner.Take(parts.back());
    ASSERT_TRUE(joined.ok()) << joined.status();
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*joined, whole));
    EXPECT_EQ(budget_.held_bytes, 0);
    EXPECT_EQ(joiner.Take(Released("short"))->released().job(), "short");
  }
}

TEST_F(MessageJoinerTest, AWrongSequenceIsRefused) {
  const auto last_of = [&](const std::vector<v1::WorkerMessage>& messages) {
    MessageJoiner joiner(&budget_);
    for (size_t i = 0; i + 1 < messages.size(); ++i) {
      EXPECT_TRUE(joiner.Take(messages[i]).ok());
    }
    const absl::Status status = joiner.Take(messages.back()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(GetErrorInfo(status).reason, "MALFORMED_WORKER_MESSAGE");
    return std::string(status.message());
  };
  EXPECT_THAT(last_of({Part("abc", false), Released("a")}), HasSubstr("between the parts"));
  EXPECT_THAT(last_of({Part("", false)}), HasSubstr("is empty"));
  EXPECT_THAT(last_of({Part("\xFF\xFF\xFF", true)}), HasSubstr("together no message"));
  // Parts of parts would need a stack.
  EXPECT_THAT(last_of(Cut(Part("abc", false), 2)), HasSubstr("together no message"));
  EXPECT_EQ(budget_.held_bytes, 0);
}

TEST_F(MessageJoinerTest, TheLengthOfAMessageIsBounded) {
  const v1::WorkerMessage whole = Released(std::string(350, 'x'));
  for (const int excess : {0, 1}) {
    budget_.max_message_bytes = static_cast<int64_t>(whole.ByteSizeLong()) - excess;
    MessageJoiner joiner(&budget_);
    absl::Status status;
    for (const v1::WorkerMessage& part : Cut(whole, 100)) status = joiner.Take(part).status();
    EXPECT_EQ(status.ok(), excess == 0) << status;
    if (excess == 1) {
      EXPECT_THAT(std::string(status.message()), HasSubstr("have together more than"));
    }
  }
}

TEST_F(MessageJoinerTest, WhatIsHeldForAllIsBoundedAndGivenBack) {
  budget_.max_bytes = 250;
  MessageJoiner second(&budget_);
  {
    MessageJoiner first(&budget_);
    EXPECT_TRUE(first.Take(Part(std::string(200, 'x'), false)).ok());
    EXPECT_EQ(second.Take(Part(std::string(100, 'x'), false)).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
  MessageJoiner third(&budget_);
  EXPECT_TRUE(third.Take(Part(std::string(100, 'x'), false)).ok());
}

}  // namespace
}  // namespace evograd
