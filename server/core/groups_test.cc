// Goal: worker groups form, shrink, grow, wait and begin again as docs/architecture.md says.
// Method: one story per test, told with model workers over streams whose every message the test
// lets through (testing/world.h); what users see, what workers are sent and what is on disk are
// compared.

#include "server/core/groups.h"

#include <string>
#include <vector>

#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world_test.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ToyRequest;
using testing::World;

using GroupsTest = testing::WorldTest;

TEST_F(GroupsTest, AJobRunsFromSubmissionToItsEnd) {
  EXPECT_EQ(world_.Create("first", 5, 2, 2)->reason(), "needs 2 workers; none is connected");
  world_.AddWorker("w1");
  EXPECT_EQ(Job("first").state(), v1::PENDING);
  EXPECT_EQ(Job("first").reason(), "needs 2 workers; only 1 is connected");
  world_.AddWorker("w2");
  EXPECT_EQ(Job("first").state(), v1::RUNNING);
  EXPECT_EQ(Job("first").reason(), "computing on 2 workers");
  EXPECT_THAT(Job("first").workers(), ElementsAre("workers/w1", "workers/w2"));
  world_.RunUntilEnded("first", 1000);
  ExpectFinished("first");
  const v1::Job job = Job("first");
  EXPECT_EQ(job.generation(), 1);
  EXPECT_EQ(job.recoveries(), 0);
  EXPECT_EQ(job.parameters_sha256(), std::string(64, 'a'));
  EXPECT_THAT(job.hyperparameter_names(), ElementsAre("a", "b"));
  EXPECT_EQ(job.last_step().step(), 4);
  EXPECT_EQ(job.seconds_per_step(), 0.25);
  EXPECT_EQ(job.reason(), "finished 5 steps");
  EXPECT_FALSE(world_.worker("w1")->holds_job());
}

TEST_F(GroupsTest, WorkersAreFreeOnlyOnceTheyDroppedTheJob) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("first", 5, 1, 1).ok());
  ASSERT_TRUE(world_.Create("second", 5, 1, 1).ok());
  RunToStep("first", 1);
  EXPECT_EQ(world_.Cancel("first")->state(), v1::CANCELLED);
  EXPECT_EQ(Job("second").reason(), "needs 1 worker; none is free");
  world_.Quiesce();
  ExpectFinished("second");
}

TEST_F(GroupsTest, TwoJobsRunAtOnceOnDifferentWorkers) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("first", 5, 1, 1).ok());
  ASSERT_TRUE(world_.Create("second", 5, 1, 1).ok());
  EXPECT_EQ(Job("first").state(), v1::RUNNING);
  EXPECT_EQ(Job("second").state(), v1::RUNNING);
  EXPECT_NE(Job("first").workers(0), Job("second").workers(0));
  world_.Quiesce();
  ExpectFinished("first");
  ExpectFinished("second");
}

TEST_F(GroupsTest, SurvivorsGoOnWithoutALostWorker) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.Kill("w1");
  EXPECT_THAT(Job("job1").reason(), HasSubstr("generation 1"));
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").recoveries(), 1);
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, ASilentWorkerIsLostAfterFiveSeconds) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.Freeze("w1");
  world_.Pass(limits::kHeartbeatTimeoutMs - 1500);
  EXPECT_TRUE(world_.IsConnected("w1"));
  world_.Pass(1500 + limits::kTickIntervalMs);
  EXPECT_FALSE(world_.IsConnected("w1"));
  EXPECT_THAT(std::string(world_.closed("w1").message()), HasSubstr("no heartbeat"));
  EXPECT_TRUE(world_.IsConnected("w2"));
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsTest, ACoordinatorThatStoodStillBlamesNobody) {
  world_.AddWorker("w1");
  world_.Freeze("w1");
  // One tick, 60 s late: as after SIGSTOP. The worker's heartbeats are read only after it.
  world_.Stall(60'000);
  EXPECT_TRUE(world_.IsConnected("w1"));
  world_.Pass(limits::kHeartbeatTimeoutMs + limits::kTickIntervalMs);
  EXPECT_FALSE(world_.IsConnected("w1"));
}

TEST_F(GroupsTest, AWorkerLostWhileAGenerationIsFormed) {
  for (const char* id : {"w1", "w2", "w3"}) world_.AddWorker(id);
  ASSERT_TRUE(world_.Create("job1", 20, 1, 3).ok());
  RunToStep("job1", 4);
  world_.Kill("w1");
  EXPECT_EQ(Job("job1").generation(), 1);
  world_.Kill("w2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
}

TEST_F(GroupsTest, AMemberThatDoesNotLeaveCountsAsLost) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.Kill("w1");
  // w2 sends heartbeats but never answers EndGeneration.
  world_.Pass(limits::kLeaveTimeoutMs - 1000);
  EXPECT_TRUE(world_.IsConnected("w2"));
  EXPECT_EQ(Job("job1").reason(), "forming a new group: waiting for w2 to leave generation 1");
  world_.Pass(1000 + limits::kTickIntervalMs);
  EXPECT_FALSE(world_.IsConnected("w2"));
  world_.Dial("w2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, TheMostAdvancedSurvivorIsTheDonor) {
  for (const char* id : {"w1", "w2", "w3"}) world_.AddWorker(id);
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 3);
  request.mutable_spec()->set_pipeline_depth(8);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 2);
  for (int i = 0; i < 5; ++i) world_.Work("w3");
  ASSERT_GT(world_.worker("w3")->phases(), world_.worker("w2")->phases());
  world_.Kill("w1");
  for (const char* id : {"w2", "w3"}) {
    while (world_.DeliverToWorker(id)) {
    }
    world_.Work(id);
    while (world_.DeliverToCoordinator(id)) {
    }
  }
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w3", "workers/w2"));
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsTest, AMemberThatLeavesUnaskedEndsTheGenerationForAll) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  RunToStep("job1", 4);
  world_.worker("w2")->LeaveUnasked("a collective ran past its deadline");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").recoveries(), 1);
}

TEST_F(GroupsTest, TooFewSurvivorsWaitWithTheirState) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  RunToStep("job1", 4);
  world_.Kill("w2");
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::RUNNING);
  EXPECT_EQ(Job("job1").reason(), "needs 1 more CPU worker; none is free");
  world_.AddWorker("w3");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, ARunningGroupGrowsOnceNewWorkersHaveSettled) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 3).ok());
  RunToStep("job1", 4);
  world_.AddWorker("w2");
  world_.AddWorker("w3");
  world_.Pass(limits::kGrowthDelayMs - limits::kTickIntervalMs);
  EXPECT_TRUE(world_.worker("w2")->job_uid().empty());
  world_.Pass(2 * limits::kTickIntervalMs);
  // They read the data while the group computes on.
  for (const char* id : {"w2", "w3"}) {
    while (world_.DeliverToWorker(id)) {
    }
  }
  world_.Work("w1");
  EXPECT_EQ(Job("job1").generation(), 1);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").workers_size(), 3);
  EXPECT_EQ(Job("job1").recoveries(), 0);
}

TEST_F(GroupsTest, AWorkerThatWasFreeBeforeTheFirstStepJoinsToo) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  world_.AddWorker("w2");
  RunToStep("job1", 4);
  world_.Pass(limits::kGrowthDelayMs + limits::kTickIntervalMs);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").workers_size(), 2);
}

TEST_F(GroupsTest, WhoComesBackTooLateDropsItsStateAndJoinsAgain) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  RunToStep("job1", 4);
  world_.CutStream("w1");
  RunToStep("job1", 8);
  ASSERT_EQ(Job("job1").generation(), 2);
  world_.Dial("w1");
  EXPECT_EQ(world_.sent("w1").back().release_job().job(), "jobs/job1");
  RunToStep("job1", 12);
  world_.Pass(limits::kGrowthDelayMs + limits::kTickIntervalMs);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 3);
  EXPECT_EQ(Job("job1").workers_size(), 2);
}

TEST_F(GroupsTest, AGroupDoesNotGrowForAnotherKindOfDevice) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 3).ok());
  RunToStep("job1", 4);
  world_.AddWorker("g1", v1::CUDA);
  world_.Pass(5000);
  world_.Quiesce();
  EXPECT_EQ(Job("job1").generation(), 1);
}

TEST_F(GroupsTest, TheLastHolderMayComeBackWithinTheGrace) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  world_.CutStream("w1");
  EXPECT_EQ(Job("job1").reason(),
            "waiting up to 10 s for 1 worker to come back with the job's state");
  world_.Pass(limits::kReattachGraceMs - 1000);
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, AfterTheGraceTheJobGoesOnFromItsCheckpoint) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 8);
  world_.Kill("w1");
  world_.AddWorker("w2");
  world_.Pass(limits::kReattachGraceMs - 1000);
  EXPECT_EQ(Job("job1").generation(), 1);
  world_.Pass(1000 + limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").restarts(), 1);
  EXPECT_EQ(world_.sent("w2").back().start_generation().checkpoint(), "jobs/job1/checkpoints/5");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(RestartedFrom("job1"), ElementsAre(5));
}

// Nobody else was there to go on from the checkpoint.
TEST_F(GroupsTest, WhoComesBackAfterTheGraceIsGoneOnWithAndNothingWasRestarted) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 8);
  world_.CutStream("w1");
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").reason(), "needs 1 worker; none is connected");
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(RestartedFrom("job1"), IsEmpty());
  EXPECT_EQ(Job("job1").restarts(), 0);
  EXPECT_EQ(Job("job1").recoveries(), 1);
}

TEST_F(GroupsTest, ARestartIsCountedThoughTheCoordinatorWasRestartedBeforeIt) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 8);
  world_.Kill("w1");
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").restarts(), 0);
  world_.RestartCoordinator();
  world_.AddWorker("w2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(RestartedFrom("job1"), ElementsAre(0));
  EXPECT_EQ(Job("job1").restarts(), 1);
}

TEST_F(GroupsTest, WhoComesBackWithEmptyHandsIsNotWaitedFor) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 2, 2);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 8);
  world_.Kill("w1");
  world_.Kill("w2");
  // Killed and started again; the other one may still come back with its state.
  world_.AddWorker("w1");
  world_.AddWorker("w3");
  world_.Quiesce();
  EXPECT_EQ(Job("job1").generation(), 1);
  EXPECT_EQ(Job("job1").reason(),
            "waiting up to 10 s for 2 workers to come back with the job's state");
  world_.AddWorker("w2");
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").restarts(), 1);
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsTest, WithoutFreeWorkersALostJobIsPendingAgain) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  world_.Kill("w1");
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  EXPECT_EQ(Job("job1").reason(), "needs 1 worker; none is connected");
  EXPECT_EQ(Job("job1").workers_size(), 0);
  // The committed steps were computed on a CPU: a GPU would not repeat them bit by bit.
  world_.AddWorker("g1", v1::CUDA);
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  world_.AddWorker("w2");
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsTest, RestartsAreLimited) {
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_max_restarts(2);
  ASSERT_TRUE(world_.Create(request).ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(Job("job1").state(), v1::FAILED);
    world_.AddWorker("w1");
    RunToStep("job1", 1);
    world_.Kill("w1");
    world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  }
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_EQ(Job("job1").restarts(), 2);
  EXPECT_EQ(Job("job1").error().code(), static_cast<int>(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Job("job1").error().message(),
              HasSubstr("lost 3 times without a new step in between, and max_restarts is 2"));
}

// Machines that are lost now and then in a long job use nothing up.
TEST_F(GroupsTest, AJobThatGetsFurtherMayRestartWithoutEnd) {
  v1::CreateJobRequest request = ToyRequest("job1", 40, 1, 1);
  request.mutable_spec()->set_max_restarts(1);
  request.mutable_spec()->set_checkpoint_interval_steps(1);
  ASSERT_TRUE(world_.Create(request).ok());
  for (int i = 1; i <= 6; ++i) {
    world_.AddWorker("w1");
    RunToStep("job1", 4 * i);
    world_.Kill("w1");
    world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  }
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  world_.AddWorker("w1");
  EXPECT_EQ(Job("job1").restarts(), 6);
  world_.Quiesce();
  ExpectFinished("job1");
}

// A stream that is cut again and again while its worker has nothing to lose costs nothing either.
TEST_F(GroupsTest, CutStreamsBeforeTheFirstStepAreNoRestarts) {
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_max_restarts(1);
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create(request).ok());
  for (int i = 0; i < 8; ++i) {
    while (world_.DeliverToWorker("w1")) {
    }
    world_.CutStream("w1");
    world_.Pass(150);
    world_.Dial("w1");
    world_.Quiesce();
  }
  world_.RunUntilEnded("job1", 2 * limits::kRetryMaxMs);
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, ADamagedCheckpointIsPassedOver) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  const v1::Job job = world_.Create(request).value();
  RunToStep("job1", 12);
  world_.Kill("w1");
  world_.AddWorker("w2");
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  ASSERT_EQ(world_.sent("w2").back().start_generation().checkpoint(), "jobs/job1/checkpoints/10");
  FindCheckpointInput find{world_.NextCall(), {}};
  find.request.set_name("jobs/job1/checkpoints/10");
  const auto location = std::get<CheckpointLocation>(*world_.Call(find));
  ASSERT_TRUE(
      world_.Call(DamagedCheckpointInput{world_.NextCall(), job.uid(), location.checkpoint}).ok());
  // Who finds no file after its record is gone is told that, and changes nothing.
  for (const std::string& uid : {job.uid(), std::string("another")}) {
    const DamagedCheckpointInput again{world_.NextCall(), uid, location.checkpoint};
    EXPECT_EQ(world_.Call(again).status().code(), absl::StatusCode::kNotFound);
  }
  world_.Quiesce();
  ExpectFinished("job1");
  bool from_five = false;
  for (const v1::CoordinatorMessage& message : world_.sent("w2")) {
    from_five |= message.start_generation().checkpoint() == "jobs/job1/checkpoints/5";
  }
  EXPECT_TRUE(from_five);
}

TEST_F(GroupsTest, ARestartedCoordinatorWaitsForTheWorkersOfBefore) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.RestartCoordinator();
  EXPECT_EQ(Job("job1").state(), v1::RUNNING);
  EXPECT_GE(Job("job1").committed_steps(), 4);
  world_.Dial("w2");
  world_.Quiesce();
  EXPECT_EQ(Job("job1").generation(), 1);
  EXPECT_EQ(Job("job1").reason(),
            "waiting up to 10 s for 1 worker to come back with the job's state");
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").recoveries(), 0);
}

TEST_F(GroupsTest, ARestartedCoordinatorWaitsNoLongerThanTheGrace) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.RestartCoordinator();
  world_.Kill("w1");
  world_.Dial("w2");
  world_.Quiesce();
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, ARestartedCoordinatorDoesNotWaitForWhoWasStartedAgainToo) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.RestartCoordinator();
  world_.Kill("w1");
  world_.Dial("w2");
  world_.Quiesce();
  EXPECT_EQ(Job("job1").generation(), 1);
  world_.AddWorker("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsTest, WhoHoldsAJobThatEndedMeanwhileIsTold) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  world_.CutStream("w1");
  ASSERT_TRUE(world_.Cancel("job1").ok());
  world_.Dial("w1");
  EXPECT_EQ(world_.sent("w1").back().release_job().job(), "jobs/job1");
  ASSERT_TRUE(world_.Create("job2", 3, 1, 1).ok());
  world_.Quiesce();
  ExpectFinished("job2");
}

TEST_F(GroupsTest, WhoHoldsAnotherJobOfTheSameNameIsTold) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  World other;
  ASSERT_TRUE(other.Get("job1").status().code() == absl::StatusCode::kNotFound);
  v1::Hello hello = world_.worker("w1")->Hello();
  hello.mutable_held()->set_job_uid("another");
  hello.set_worker_id("w9");
  world_.AddWorker("w9");
  world_.CutStream("w9");
  const Effects effects = world_.InjectHello(hello);
  ASSERT_EQ(effects.sends.size(), 2);
  EXPECT_EQ(effects.sends[1].message.release_job().job(), "jobs/job1");
}

TEST_F(GroupsTest, GroupsThatNeverCommitAStepEndTheJobAfterLongerAndLongerPauses) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  std::vector<int64_t> begins;
  const auto leave = [&] {
    world_.worker("w2")->LeaveUnasked("no route to w1");
    for (int turn = 0; turn < 4; ++turn) {
      for (const char* id : {"w2", "w1"}) {
        while (world_.DeliverToWorker(id)) {
        }
        if (!world_.worker(id)->in_generation() || id == std::string("w2")) world_.Work(id);
        while (world_.DeliverToCoordinator(id)) {
        }
      }
    }
  };
  for (int i = 1; i <= limits::kMaxFruitlessGenerations; ++i) {
    ASSERT_EQ(Job("job1").state(), v1::RUNNING) << i;
    while (Job("job1").generation() < i) {
      EXPECT_THAT(Job("job1").reason(), HasSubstr("no route to w1"));
      world_.Pass(limits::kTickIntervalMs);
    }
    begins.push_back(world_.now().monotonic_ms);
    leave();
  }
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("no route to w1"));
  EXPECT_EQ(begins[1], begins[0]);
  EXPECT_GE(begins.back() - begins.front(), 600'000);
}

TEST_F(GroupsTest, GroupsThatHoldEachOthersWorkersComeApart) {
  for (const char* id : {"w1", "w2", "w3", "w4"}) world_.AddWorker(id);
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  ASSERT_TRUE(world_.Create("job2", 20, 2, 2).ok());
  RunToStep("job1", 2);
  RunToStep("job2", 2);
  world_.Kill("w1");
  world_.Kill("w3");
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::RUNNING);
  EXPECT_EQ(Job("job2").state(), v1::RUNNING);
  world_.RunUntilEnded("job1", limits::kStuckGroupMs + 5000);
  ExpectFinished("job1");
  world_.RunUntilEnded("job2", 5000);
  ExpectFinished("job2");
  EXPECT_EQ(Job("job2").restarts(), 1);
}

}  // namespace
}  // namespace evograd
