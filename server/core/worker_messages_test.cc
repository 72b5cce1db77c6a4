// Goal: what workers say has the effect that it should have, once; what is stale has none; what is
// wrong closes the stream or fails the job, with its cause. Method: stories with model workers
// (testing/world.h), and messages put in by hand.

#include "server/core/worker_messages.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world_test.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::World;

using WorkerMessagesTest = testing::WorldTest;

TEST_F(WorkerMessagesTest, AFailureNamesItsCauseAndItsWorker) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  RunToStep("job1", 4);
  world_.worker("w2")->FailNext("loss is NaN at step 4");
  world_.worker("w1")->LeaveUnasked("a peer was lost");
  // The consequence arrives before the cause, and still the cause is what counts.
  world_.Work("w1");
  world_.DeliverToCoordinator("w1");
  world_.Work("w2");
  world_.Quiesce();
  const v1::Job job = Job("job1");
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.error().message(), "loss is NaN at step 4");
  EXPECT_EQ(job.error().worker(), "workers/w2");
  EXPECT_THAT(job.reason(), HasSubstr("NaN"));
}

TEST_F(WorkerMessagesTest, AWrongChecksumFailsTheJob) {
  world_.AddWorker("w1")->CorruptResults();
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_EQ(Job("job1").error().code(), static_cast<int>(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("step 0 of jobs/job1 from worker w1"));
  EXPECT_EQ(Job("job1").committed_steps(), 0);
}

TEST_F(WorkerMessagesTest, ARepeatedResultIsAcknowledgedAgainAndADifferentOneSetsItsWorkerAside) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  HyperState state;
  v1::StepResult result;
  for (int64_t step = 0; step <= 2; ++step)
    result = testing::ComputeStep(Job("job1").spec(), step, &state);
  v1::WorkerMessage message;
  message.mutable_results()->set_job("jobs/job1");
  message.mutable_results()->set_generation(1);
  *message.mutable_results()->add_results() = result;
  const int64_t committed = Job("job1").committed_steps();
  const Effects same = world_.Inject("w1", message);
  EXPECT_TRUE(same.records.empty());
  ASSERT_EQ(same.sends.size(), 1);
  EXPECT_EQ(same.sends[0].message.acknowledge().committed_steps(), committed);

  message.mutable_results()->mutable_results(0)->set_state_checksum(1);
  world_.Inject("w1", message);
  EXPECT_THAT(Job("job1").reason(), HasSubstr("step 2 of jobs/job1, computed again by worker w1"));
  // A sound machine goes on from what is durable, not from what that one holds.
  world_.AddWorker("w2");
  world_.Quiesce();
  world_.RunUntilEnded("job1", 20'000);
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w2"));
}

TEST_F(WorkerMessagesTest, AWorkerThatRepeatsADifferentResultFailsTheJob) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  world_.worker("w1")->CorruptResults();
  world_.Quiesce();
  EXPECT_FALSE(Job("job1").has_error());
  world_.RunUntilEnded("job1", 60'000);
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_EQ(Job("job1").error().code(), static_cast<int>(absl::StatusCode::kDataLoss));
}

// Every message of a worker that names a generation, sent with a stale one: nothing may change. The
// positive twin is the same message with the current generation.
TEST_F(WorkerMessagesTest, StaleGenerationsChangeNothing) {
  std::vector<v1::WorkerMessage> messages(5);
  messages[0].mutable_results();
  messages[1].mutable_rendezvous()->set_key("k");
  messages[2].mutable_generation_left()->mutable_held();
  messages[3].mutable_failed()->mutable_error()->set_code(13);
  messages[4].mutable_rendezvous()->set_key("l");
  for (v1::WorkerMessage& message : messages) {
    SCOPED_TRACE(message.ShortDebugString());
    World world;
    world.AddWorker("w1");
    const v1::Job job = world.Create("job1", 20, 1, 1).value();
    world.DeliverToWorker("w1");
    world.worker("w1")->LeaveUnasked("to reach generation 2");
    world.Work("w1");
    world.DeliverToWorker("w1");
    world.Work("w1");
    world.DeliverToCoordinator("w1");
    ASSERT_EQ(world.Get("job1")->generation(), 2);
    for (const int64_t generation : {1, 3, 2}) {
      if (message.has_results()) {
        HyperState state;
        message.mutable_results()->clear_results();
        *message.mutable_results()->add_results() = testing::ComputeStep(job.spec(), 0, &state);
        message.mutable_results()->set_job("jobs/job1");
        message.mutable_results()->set_generation(generation);
      } else if (message.has_rendezvous()) {
        message.mutable_rendezvous()->set_job("jobs/job1");
        message.mutable_rendezvous()->set_generation(generation);
      } else if (message.has_generation_left()) {
        message.mutable_generation_left()->mutable_held()->set_job("jobs/job1");
        message.mutable_generation_left()->mutable_held()->set_job_uid(job.uid());
        message.mutable_generation_left()->mutable_held()->set_generation(generation);
      } else {
        message.mutable_failed()->set_job("jobs/job1");
        message.mutable_failed()->set_generation(generation);
      }
      const Effects effects = world.Inject("w1", message);
      const bool nothing =
          effects.records.empty() && effects.sends.empty() && effects.closes.empty();
      EXPECT_EQ(nothing, generation != 2) << "generation " << generation;
    }
    EXPECT_THAT(world.violations(), IsEmpty());
  }
}

TEST_F(WorkerMessagesTest, GapsAndMalformedMessagesCloseTheStream) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 2);
  v1::WorkerMessage message;
  message.mutable_results()->set_job("jobs/job1");
  message.mutable_results()->set_generation(1);
  message.mutable_results()->add_results()->set_step(9);
  message.mutable_results()->mutable_results(0)->mutable_metrics()->set_step(9);
  world_.Inject("w1", message);
  EXPECT_EQ(world_.closed("w1").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(world_.closed("w1").message()),
              HasSubstr("step 9 of jobs/job1 came, where step "));
  // It dials again with what it holds, and the job goes on.
  world_.Dial("w1");
  world_.Inject("w1", v1::WorkerMessage());
  EXPECT_THAT(std::string(world_.closed("w1").message()), HasSubstr("no known kind"));
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(WorkerMessagesTest, OtherProtocolVersionsAreRefused) {
  v1::Hello hello;
  hello.set_worker_id("w1");
  hello.set_device_kind(v1::CPU);
  hello.set_protocol_version(limits::kProtocolVersion + 1);
  world_.AddWorker("w0");
  Effects effects = world_.InjectHello(hello);
  ASSERT_EQ(effects.closes.size(), 1);
  EXPECT_EQ(effects.closes[0].status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(effects.closes[0].status.message(),
            absl::StrCat("the worker speaks protocol version ", limits::kProtocolVersion + 1,
                         ", the coordinator version ", limits::kProtocolVersion,
                         ": upgrade the coordinator"));
  hello.set_protocol_version(limits::kProtocolVersion - 1);
  effects = world_.InjectHello(hello);
  EXPECT_THAT(std::string(effects.closes.at(0).status.message()), HasSubstr("upgrade the worker"));
  hello.set_protocol_version(limits::kProtocolVersion);
  EXPECT_TRUE(world_.InjectHello(hello).closes.empty());
}

TEST_F(WorkerMessagesTest, AWorkerIdIsConnectedOnce) {
  world_.AddWorker("w1");
  v1::Hello hello = world_.worker("w1")->Hello();
  hello.set_process_id(hello.process_id() + 1);
  const Effects other = world_.InjectHello(hello);
  ASSERT_EQ(other.closes.size(), 1);
  EXPECT_EQ(other.closes[0].status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(world_.IsConnected("w1"));
  // The same process dials again before its old stream was noticed to be dead: the new stream
  // counts.
  hello = world_.worker("w1")->Hello();
  const Effects same = world_.InjectHello(hello);
  ASSERT_EQ(same.closes.size(), 1);
  EXPECT_EQ(same.closes[0].status.code(), absl::StatusCode::kAborted);
  EXPECT_FALSE(world_.IsConnected("w1"));
}

}  // namespace
}  // namespace evograd
