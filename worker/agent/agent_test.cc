// Goal: the agent does over real streams, with real threads and collectives, what its machine
// decides. Method: a scripted coordinator on a real port, puppet engines that act when told, ranks
// in one process. The decisions themselves are tested in worker/core.
#include "worker/agent/agent.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/agent/testing/fake_coordinator.h"
#include "worker/agent/testing/test_worker.h"
#include "worker/core/testing/coordinator_messages.h"

namespace evograd::agent {
namespace {

class AgentTest : public testing::Test {
 protected:
  TestWorker& AddWorker(const std::string& id) {
    auto& worker = workers_[id];
    worker = std::make_unique<TestWorker>(id, coordinator_.address(), &groups_);
    coordinator_.WaitForHello(id);
    return *worker;
  }

  void Start(const std::string& worker, int64_t generation, const StartOptions& options = {}) {
    coordinator_.Say(worker, StartMessage(generation, options));
  }

  // Ranks 0, 1, … of a group. Rank 0 is told last: what it puts for the others is relayed at once,
  // and the coordinator never relays to a rank that it has not started.
  void StartGroup(const std::vector<std::string>& workers, int64_t generation,
                  StartOptions options = {}) {
    options.size = static_cast<int>(workers.size());
    for (int rank = options.size - 1; rank >= 0; --rank) {
      options.rank = rank;
      Start(workers[rank], generation, options);
    }
  }

  void End(const std::string& worker, int64_t generation) {
    coordinator_.Say(worker, EndMessage(generation));
  }

  void Ack(const std::string& worker, int64_t generation, int64_t committed) {
    coordinator_.Say(worker, AcknowledgeMessage(generation, committed));
  }

  void Release(const std::string& worker) {
    coordinator_.Say(worker, ReleaseMessage());
    EXPECT_EQ(coordinator_.Hear(worker).released().job(), "jobs/a");
  }

  // The next message is results from step `first` on; gives the step after its last.
  int64_t HearResults(const std::string& worker, int64_t generation, int64_t first) {
    const v1::WorkerMessage message = coordinator_.Hear(worker);
    EXPECT_TRUE(message.has_results()) << message.DebugString();
    EXPECT_EQ(message.results().generation(), generation);
    int64_t step = first;
    for (const v1::StepResult& result : message.results().results()) {
      EXPECT_EQ(result.step(), step++);
    }
    return step;
  }

  // The next messages are these steps' results.
  void ExpectResults(const std::string& worker, int64_t generation, int64_t first, int64_t count) {
    for (int64_t step = first; step < first + count;) {
      const int64_t next = HearResults(worker, generation, step);
      ASSERT_GT(next, step);
      step = next;
    }
  }

  v1::GenerationLeft ExpectLeft(const std::string& worker, int64_t generation, int64_t phases) {
    const v1::WorkerMessage message = coordinator_.Hear(worker);
    EXPECT_TRUE(message.has_generation_left()) << message.DebugString();
    const v1::HeldState& held = message.generation_left().held();
    EXPECT_EQ(held.generation(), generation);
    EXPECT_TRUE(held.has_state());
    EXPECT_EQ(held.phases(), phases);
    return message.generation_left();
  }

  FakeCoordinator coordinator_;
  GroupMaker groups_;
  std::map<std::string, std::unique_ptr<TestWorker>> workers_;
};

TEST_F(AgentTest, HeartbeatsGoOnWhileTheEngineIsBusy) {
  TestWorker& worker = AddWorker("w1");
  Start("w1", 1);
  ASSERT_TRUE(worker.puppet().WaitForCall("make"));
  coordinator_.WaitForHeartbeats("w1", 5);
  EXPECT_TRUE(worker.puppet().WaitForCall("make"));
}

TEST_F(AgentTest, AJobFromStartToRelease) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  StartOptions options;
  options.steps = 3;
  Start("w1", 1, options);
  for (int64_t step = 0; step < 3; ++step) {
    ExpectResults("w1", 1, step, 1);
    EXPECT_EQ(worker.puppet().calls("step"), step + 1);
    Ack("w1", 1, step + 1);
  }
  const v1::WorkerMessage message = coordinator_.Hear("w1");
  ASSERT_TRUE(message.has_finished()) << message.DebugString();
  EXPECT_EQ(message.finished().evaluation().step(), 3);
  EXPECT_EQ(message.finished().parameters_sha256(), "parameters after 3");
  EXPECT_EQ(message.finished().hyperparameters_sha256(), "hyperparameters after 3");
  EXPECT_FALSE(coordinator_.Stored("jobs/a/checkpoints/3").empty());
  Release("w1");
  EXPECT_EQ(worker.puppet().engines(), 0);
  EXPECT_TRUE(worker.Stop().ok());
}

TEST_F(AgentTest, DepthEightRunsEightStepsAhead) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  StartOptions options;
  options.depth = 8;
  Start("w1", 1, options);
  ExpectResults("w1", 1, 0, 1);
  ASSERT_TRUE(worker.puppet().WaitForReturns("step", 8));
  // A ninth needs an acknowledgement.
  EXPECT_EQ(worker.puppet().calls("step"), 8);
  Ack("w1", 1, 1);
  // What was computed meanwhile comes together; the eighth step's result may just miss it.
  int64_t next = HearResults("w1", 1, 1);
  EXPECT_GE(next, 7);
  ASSERT_TRUE(worker.puppet().WaitForReturns("step", 9));
  while (next < 9) {
    Ack("w1", 1, next);
    const int64_t heard = HearResults("w1", 1, next);
    ASSERT_GT(heard, next);
    next = heard;
  }
}

TEST_F(AgentTest, ALostStreamFillsThePipelineAndIsTakenUpAgain) {
  TestWorker& worker = AddWorker("w1");
  for (const char* call : {"make", "initialise", "synchronise"}) worker.puppet().LetAlways(call);
  StartOptions options;
  options.depth = 8;
  Start("w1", 1, options);
  worker.puppet().Let("step");
  ExpectResults("w1", 1, 0, 1);
  coordinator_.Cut("w1");
  const v1::Hello hello = coordinator_.WaitForHello("w1");
  EXPECT_EQ(hello.held().job(), "jobs/a");
  EXPECT_EQ(hello.held().job_uid(), "uid-a");
  EXPECT_EQ(hello.held().generation(), 1);
  EXPECT_EQ(hello.held().phases(), 2);
  for (int step = 1; step < 8; ++step) worker.puppet().Let("step");
  ASSERT_TRUE(worker.puppet().WaitForReturns("step", 8));
  EXPECT_FALSE(coordinator_.HasMore("w1"));
  End("w1", 1);
  const int64_t phases = coordinator_.Hear("w1").generation_left().held().phases();
  EXPECT_GE(phases, 14);  // the last step may have been stopped
  options.donor_holds_state = true;
  Start("w1", 2, options);
  ExpectResults("w1", 2, 0, phases / 2);
}

TEST_F(AgentTest, EndOfAGenerationAbortsACollectiveThatWaits) {
  TestWorker& first = AddWorker("w1");
  TestWorker& second = AddWorker("w2");
  first.puppet().LetEverything();
  for (const char* call : {"make", "synchronise"}) second.puppet().LetAlways(call);
  StartOptions options;
  options.depth = 4;
  StartGroup({"w1", "w2"}, 1, options);
  ASSERT_TRUE(second.puppet().WaitForCall("step"));
  // w1 waits in the step's collective for w2, which does not come.
  End("w1", 1);
  End("w2", 1);
  EXPECT_EQ(ExpectLeft("w1", 1, 0).reason(), "");
  ExpectLeft("w2", 1, 0);

  second.puppet().LetEverything();
  options.donor_holds_state = true;
  StartGroup({"w1", "w2"}, 2, options);
  ExpectResults("w1", 2, 0, 1);
  EXPECT_FALSE(coordinator_.HasMore("w2"));
}

TEST_F(AgentTest, ALostPeerIsNamedAndTheStateIsKept) {
  TestWorker& first = AddWorker("w1");
  AddWorker("w2").puppet().LetEverything();
  first.puppet().LetEverything();
  StartGroup({"w1", "w2"}, 1);
  ExpectResults("w1", 1, 0, 1);
  Ack("w1", 1, 1);  // w1 begins step 1; w2 knows nothing of it, and goes
  EXPECT_TRUE(workers_["w2"]->Stop().ok());
  const v1::GenerationLeft left = ExpectLeft("w1", 1, 2);
  EXPECT_TRUE(absl::StrContains(left.reason(), "rank 1")) << left.reason();
}

TEST_F(AgentTest, EndWhileRanksLookForEachOther) {
  TestWorker& worker = AddWorker("w2");
  worker.puppet().LetEverything();
  StartOptions options;
  options.rank = 1;
  options.size = 2;
  Start("w2", 1, options);
  // Rank 0 never comes. Whatever w2 is at, it answers.
  End("w2", 1);
  const v1::WorkerMessage message = coordinator_.Hear("w2");
  EXPECT_TRUE(message.has_generation_left()) << message.DebugString();
  EXPECT_FALSE(message.generation_left().held().has_state());
}

TEST_F(AgentTest, CancelWhileDataIsRead) {
  TestWorker& worker = AddWorker("w1");
  Start("w1", 1);
  ASSERT_TRUE(worker.puppet().WaitForCall("make"));
  Release("w1");
  worker.puppet().LetEverything();
  Start("w1", 2);
  ExpectResults("w1", 2, 0, 1);
}

TEST_F(AgentTest, CancelDuringAStep) {
  TestWorker& worker = AddWorker("w1");
  for (const char* call : {"make", "initialise", "synchronise"}) worker.puppet().LetAlways(call);
  Start("w1", 1);
  ASSERT_TRUE(worker.puppet().WaitForCall("step"));
  Release("w1");
  EXPECT_EQ(worker.puppet().engines(), 0);
}

TEST_F(AgentTest, RepeatedMessagesAreAnsweredOnce) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  Start("w1", 1);
  Start("w1", 1);
  ExpectResults("w1", 1, 0, 1);
  Ack("w1", 1, 1);
  Ack("w1", 1, 1);
  ExpectResults("w1", 1, 1, 1);
  End("w1", 1);
  End("w1", 1);
  ExpectLeft("w1", 1, 4);
  Release("w1");  // and nothing else came before its answer
  EXPECT_EQ(worker.puppet().calls("make"), 1);
  EXPECT_EQ(worker.puppet().calls("step"), 2);
}

TEST_F(AgentTest, AnErrorOfTheJobIsToldWithItsCode) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().Let("make", absl::NotFoundError("no /data/train\xFF"));
  Start("w1", 1);
  const v1::WorkerMessage message = coordinator_.Hear("w1");
  ASSERT_TRUE(message.has_failed()) << message.DebugString();
  EXPECT_EQ(message.failed().error().code(), static_cast<int>(absl::StatusCode::kNotFound));
  EXPECT_EQ(message.failed().error().message(), "no /data/train?");
  EXPECT_EQ(message.failed().error().worker(), "workers/w1");
  Release("w1");
}

TEST_F(AgentTest, ACheckpointIsRestored) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  StartOptions options;
  options.interval = 2;
  Start("w1", 1, options);
  ExpectResults("w1", 1, 0, 1);
  Ack("w1", 1, 1);
  ExpectResults("w1", 1, 1, 1);
  Ack("w1", 1, 2);
  ExpectResults("w1", 1, 2, 1);
  // A generation's end would stop the upload.
  while (coordinator_.Stored("jobs/a/checkpoints/2").empty()) {
    coordinator_.WaitForHeartbeats("w1", 1);
  }
  Release("w1");
  options.checkpoint = "jobs/a/checkpoints/2";
  options.committed = 3;
  Start("w1", 2, options);
  ExpectResults("w1", 2, 2, 1);  // again, for comparison
  EXPECT_EQ(worker.puppet().calls("initialise"), 1);
  EXPECT_EQ(worker.puppet().calls("restore"), 1);
}

TEST_F(AgentTest, ADamagedCheckpointEndsTheGenerationAndIsNamed) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  coordinator_.Store("jobs/a/checkpoints/5", "bytes", std::string(64, '0'));
  StartOptions options;
  options.checkpoint = "jobs/a/checkpoints/5";
  Start("w1", 1, options);
  const v1::WorkerMessage message = coordinator_.Hear("w1");
  ASSERT_TRUE(message.has_generation_left()) << message.DebugString();
  EXPECT_FALSE(message.generation_left().held().has_state());
  EXPECT_TRUE(absl::StrContains(message.generation_left().reason(), "jobs/a/checkpoints/5"));
}

TEST_F(AgentTest, AnUploadIsTriedAgainUntilItIsStored) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  coordinator_.RefuseUploads({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many uploads"});
  StartOptions options;
  options.steps = 1;
  Start("w1", 1, options);
  ExpectResults("w1", 1, 0, 1);
  Ack("w1", 1, 1);
  coordinator_.WaitForRefusedUploads(2);
  EXPECT_EQ(coordinator_.Hear("w1").trouble().text(),
            "the checkpoint of step 1 is not stored yet, trying again: too many uploads");
  EXPECT_FALSE(coordinator_.HasMore("w1"));
  EXPECT_TRUE(worker.WaitForLine("too many uploads"));
  coordinator_.RefuseUploads(grpc::Status::OK);
  EXPECT_TRUE(coordinator_.Hear("w1").has_finished());
}

TEST_F(AgentTest, AnotherProtocolVersionEndsTheAgent) {
  coordinator_.Refuse(
      OfCoordinator(grpc::StatusCode::FAILED_PRECONDITION, "the worker speaks version 1"));
  TestWorker worker("w1", coordinator_.address(), &groups_);
  EXPECT_EQ(worker.Wait(), absl::FailedPreconditionError("the worker speaks version 1"));
}

TEST_F(AgentTest, WhatAnotherProgramOnThePortSaysEndsNoAgent) {
  for (const grpc::StatusCode code :
       {grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::INVALID_ARGUMENT,
        grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::PERMISSION_DENIED,
        grpc::StatusCode::UNAUTHENTICATED}) {
    coordinator_.Refuse({code, "Method not found!"});
    TestWorker worker("w1", coordinator_.address(), &groups_);
    EXPECT_TRUE(worker.WaitForLine("Method not found!")) << code;
    coordinator_.Refuse(grpc::Status::OK);
    EXPECT_EQ(coordinator_.WaitForHello("w1").worker_id(), "w1") << code;
    EXPECT_TRUE(worker.Stop().ok()) << code;
  }
}

TEST_F(AgentTest, AHostsNameMayBeAnyBytes) {
  TestWorker worker("w1", coordinator_.address(), &groups_, "caf\xE9");
  EXPECT_EQ(coordinator_.WaitForHello("w1").host(), "caf?");
}

TEST_F(AgentTest, ARestoreWaitsForABusyCoordinator) {
  TestWorker& worker = AddWorker("w1");
  worker.puppet().LetEverything();
  StartOptions options;
  options.interval = 2;
  Start("w1", 1, options);
  ExpectResults("w1", 1, 0, 1);
  Ack("w1", 1, 1);
  ExpectResults("w1", 1, 1, 1);
  Ack("w1", 1, 2);
  ExpectResults("w1", 1, 2, 1);
  while (coordinator_.Stored("jobs/a/checkpoints/2").empty()) {
    coordinator_.WaitForHeartbeats("w1", 1);
  }
  Release("w1");
  options.checkpoint = "jobs/a/checkpoints/2";
  options.committed = 3;
  coordinator_.RefuseDownloads({grpc::StatusCode::RESOURCE_EXHAUSTED, "busy"}, 3);
  Start("w1", 2, options);
  EXPECT_EQ(coordinator_.Hear("w1").trouble().text(),
            "jobs/a/checkpoints/2 could not be fetched yet, trying again: busy");
  const v1::WorkerMessage over = coordinator_.Hear("w1");
  EXPECT_TRUE(over.has_trouble() && over.trouble().text().empty()) << over.DebugString();
  ExpectResults("w1", 2, 2, 1);
  EXPECT_TRUE(worker.WaitForLine("could not be fetched yet, trying again: busy"));
  // The next step may be over, too.
  coordinator_.Say("w1", ReleaseMessage());
  v1::WorkerMessage message = coordinator_.Hear("w1");
  while (message.has_results()) message = coordinator_.Hear("w1");
  EXPECT_TRUE(message.has_released()) << message.DebugString();
  // The end of the generation ends the wait.
  coordinator_.RefuseDownloads({grpc::StatusCode::UNAVAILABLE, "away"}, 1'000'000);
  Start("w1", 3, options);
  EXPECT_TRUE(worker.WaitForLine("trying again: away"));
  EXPECT_TRUE(coordinator_.Hear("w1").has_trouble());
  End("w1", 3);
  EXPECT_TRUE(coordinator_.Hear("w1").has_generation_left());
}

TEST_F(AgentTest, ARefusalThatMayPassDoesNot) {
  coordinator_.Refuse(OfCoordinator(grpc::StatusCode::ALREADY_EXISTS, "w1 is connected"));
  TestWorker worker("w1", coordinator_.address(), &groups_);
  EXPECT_TRUE(worker.WaitForLine("w1 is connected"));
  coordinator_.Refuse(grpc::Status::OK);
  EXPECT_EQ(coordinator_.WaitForHello("w1").worker_id(), "w1");
}

TEST_F(AgentTest, NobodyDialsBeforeTheCoordinatorAskedFor) {
  coordinator_.Refuse(
      OfCoordinator(grpc::StatusCode::RESOURCE_EXHAUSTED, "no more are taken", absl::Seconds(5)));
  TestWorker worker("w1", coordinator_.address(), &groups_);
  EXPECT_TRUE(worker.WaitForLine("no more are taken"));
  coordinator_.Refuse(grpc::Status::OK);
  EXPECT_EQ(coordinator_.WaitForHello("w1").worker_id(), "w1");
  const std::vector<absl::Duration> asked = worker.dial_pauses();
  ASSERT_FALSE(asked.empty());
  for (const absl::Duration pause : asked) {
    EXPECT_GE(pause, absl::Seconds(5));
    EXPECT_LE(pause, absl::Seconds(6));
  }
  // The twin: a stream that was cut without a word.
  coordinator_.Cut("w1");
  EXPECT_EQ(coordinator_.WaitForHello("w1").worker_id(), "w1");
  EXPECT_LT(worker.dial_pauses().back(), absl::Seconds(1));
}

TEST_F(AgentTest, ACoordinatorThatIsNotThereIsWaitedFor) {
  std::string address;
  {
    address = FakeCoordinator().address();
  }
  TestWorker worker("w1", address, &groups_);
  EXPECT_TRUE(worker.WaitForLine(absl::StrCat("no connection to the coordinator at ", address)));
  FakeCoordinator late(address);
  EXPECT_EQ(late.WaitForHello("w1").worker_id(), "w1");
  EXPECT_TRUE(worker.WaitForLine("connected as workers/w1"));
  EXPECT_TRUE(worker.Stop().ok());
}

TEST_F(AgentTest, StopEndsWhateverRuns) {
  TestWorker& worker = AddWorker("w1");
  for (const char* call : {"make", "initialise", "synchronise"}) worker.puppet().LetAlways(call);
  Start("w1", 1);
  ASSERT_TRUE(worker.puppet().WaitForCall("step"));
  EXPECT_TRUE(worker.Stop().ok());
  EXPECT_EQ(worker.puppet().engines(), 0);
}

}  // namespace
}  // namespace evograd::agent
