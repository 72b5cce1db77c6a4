// Goal: the coordinator decides as docs/architecture.md says. Method: one story per test, told with
// model workers over streams whose every message the test lets through (testing/world.h); what
// users see, what workers are sent and what is on disk are compared. Each story ends with no
// promise broken (World::violations).

#include "server/core/coordinator_machine.h"

#include <string>
#include <vector>

#include "common/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world.h"
#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ToyRequest;
using testing::World;

class CoordinatorMachineTest : public ::testing::Test {
 protected:
  ~CoordinatorMachineTest() override { EXPECT_THAT(world_.violations(), IsEmpty()); }

  v1::Job Job(const std::string& id) { return world_.Get(id).value(); }

  // Until `id` has committed at least `steps` steps.
  void RunToStep(const std::string& id, int64_t steps) {
    for (int round = 0; Job(id).committed_steps() < steps; ++round) {
      ASSERT_LT(round, 10'000) << Job(id).ShortDebugString();
      std::vector<std::string> ids;
      for (const auto& [worker, unused] : world_.workers()) ids.push_back(worker);
      for (const std::string& worker : ids) {
        world_.DeliverToWorker(worker);
        world_.Work(worker);
        world_.DeliverToCoordinator(worker);
      }
    }
  }

  // The hyperparameters' checksums that an undisturbed run has.
  std::vector<uint64_t> ExpectedSteps(const v1::JobSpec& spec) {
    std::vector<uint64_t> checksums;
    HyperState state;
    for (int64_t step = 0; step < spec.steps(); ++step) {
      checksums.push_back(testing::ComputeStep(spec, step, &state).state_checksum());
    }
    return checksums;
  }

  void ExpectFinished(const std::string& id) {
    const v1::Job job = Job(id);
    EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.ShortDebugString();
    EXPECT_EQ(job.committed_steps(), job.spec().steps());
    EXPECT_EQ(world_.disk().steps(job.uid()), ExpectedSteps(job.spec()));
  }

  World world_;
};

TEST_F(CoordinatorMachineTest, AJobRunsFromSubmissionToItsEnd) {
  EXPECT_EQ(world_.Create("first", 5, 2, 2)->reason(), "waiting for 2 workers; none is free");
  world_.AddWorker("w1");
  EXPECT_EQ(Job("first").state(), v1::PENDING);
  EXPECT_EQ(Job("first").reason(), "waiting for 2 workers; 1 is free");
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

TEST_F(CoordinatorMachineTest, WorkersAreFreeOnlyOnceTheyDroppedTheJob) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("first", 5, 1, 1).ok());
  ASSERT_TRUE(world_.Create("second", 5, 1, 1).ok());
  RunToStep("first", 1);
  EXPECT_EQ(world_.Cancel("first")->state(), v1::CANCELLED);
  EXPECT_EQ(Job("second").reason(), "waiting for 1 worker; none is free");
  world_.Quiesce();
  ExpectFinished("second");
}

TEST_F(CoordinatorMachineTest, TwoJobsRunAtOnceOnDifferentWorkers) {
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

TEST_F(CoordinatorMachineTest, SurvivorsGoOnWithoutALostWorker) {
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

TEST_F(CoordinatorMachineTest, ASilentWorkerIsLostAfterFiveSeconds) {
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

TEST_F(CoordinatorMachineTest, ACoordinatorThatStoodStillBlamesNobody) {
  world_.AddWorker("w1");
  world_.Freeze("w1");
  // One tick, 60 s late: as after SIGSTOP. The worker's heartbeats are read only after it.
  world_.Stall(60'000);
  EXPECT_TRUE(world_.IsConnected("w1"));
  world_.Pass(limits::kHeartbeatTimeoutMs + limits::kTickIntervalMs);
  EXPECT_FALSE(world_.IsConnected("w1"));
}

TEST_F(CoordinatorMachineTest, AWorkerLostWhileAGenerationIsFormed) {
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

TEST_F(CoordinatorMachineTest, AMemberThatDoesNotLeaveCountsAsLost) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.Kill("w1");
  // w2 sends heartbeats but never answers EndGeneration.
  world_.Pass(limits::kLeaveTimeoutMs - 1000);
  EXPECT_TRUE(world_.IsConnected("w2"));
  world_.Pass(1000 + limits::kTickIntervalMs);
  EXPECT_FALSE(world_.IsConnected("w2"));
  world_.Dial("w2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(CoordinatorMachineTest, TheMostAdvancedSurvivorIsTheDonor) {
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

TEST_F(CoordinatorMachineTest, AMemberThatLeavesUnaskedEndsTheGenerationForAll) {
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

TEST_F(CoordinatorMachineTest, TooFewSurvivorsWaitWithTheirState) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  RunToStep("job1", 4);
  world_.Kill("w2");
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::RUNNING);
  EXPECT_EQ(Job("job1").reason(), "waiting for 1 more CPU worker; none is free");
  world_.AddWorker("w3");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(CoordinatorMachineTest, ARunningGroupGrowsOnceNewWorkersHaveSettled) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 3).ok());
  RunToStep("job1", 4);
  world_.AddWorker("w2");
  world_.AddWorker("w3");
  world_.Pass(limits::kGrowthDelayMs - limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker");
  world_.Pass(2 * limits::kTickIntervalMs);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").workers_size(), 3);
  EXPECT_EQ(Job("job1").recoveries(), 0);
}

TEST_F(CoordinatorMachineTest, AWorkerThatWasFreeBeforeTheFirstStepJoinsToo) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  world_.AddWorker("w2");
  RunToStep("job1", 4);
  world_.Pass(limits::kGrowthDelayMs + limits::kTickIntervalMs);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").workers_size(), 2);
}

TEST_F(CoordinatorMachineTest, WhoComesBackTooLateDropsItsStateAndJoinsAgain) {
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

TEST_F(CoordinatorMachineTest, AGroupDoesNotGrowForAnotherKindOfDevice) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 3).ok());
  RunToStep("job1", 4);
  world_.AddWorker("g1", v1::CUDA);
  world_.Pass(5000);
  world_.Quiesce();
  EXPECT_EQ(Job("job1").generation(), 1);
}

// ---- Losing all, and coming back
// -------------------------------------------------------------------

TEST_F(CoordinatorMachineTest, TheLastHolderMayComeBackWithinTheGrace) {
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

TEST_F(CoordinatorMachineTest, AfterTheGraceTheJobGoesOnFromItsCheckpoint) {
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
}

TEST_F(CoordinatorMachineTest, WithoutFreeWorkersALostJobIsPendingAgain) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  world_.Kill("w1");
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  EXPECT_EQ(Job("job1").reason(), "waiting for 1 CPU worker; none is free");
  EXPECT_EQ(Job("job1").workers_size(), 0);
  // The committed steps were computed on a CPU: a GPU would not repeat them bit by bit.
  world_.AddWorker("g1", v1::CUDA);
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  world_.AddWorker("w2");
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(CoordinatorMachineTest, RestartsAreLimited) {
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
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("lost 3 times, and max_restarts is 2"));
}

TEST_F(CoordinatorMachineTest, ADamagedCheckpointIsPassedOver) {
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
  // What the worker says about its failed download is no reason to fail the job.
  v1::WorkerMessage failed;
  failed.mutable_failed()->set_job("jobs/job1");
  failed.mutable_failed()->set_generation(2);
  failed.mutable_failed()->mutable_error()->set_code(static_cast<int>(absl::StatusCode::kDataLoss));
  world_.Inject("w2", failed);
  world_.Quiesce();
  ExpectFinished("job1");
  bool from_five = false;
  for (const v1::CoordinatorMessage& message : world_.sent("w2")) {
    from_five |= message.start_generation().checkpoint() == "jobs/job1/checkpoints/5";
  }
  EXPECT_TRUE(from_five);
}

TEST_F(CoordinatorMachineTest, ARestartedCoordinatorWaitsForTheWorkersOfBefore) {
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

TEST_F(CoordinatorMachineTest, ARestartedCoordinatorWaitsNoLongerThanTheGrace) {
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

TEST_F(CoordinatorMachineTest, WhoHoldsAJobThatEndedMeanwhileIsTold) {
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

TEST_F(CoordinatorMachineTest, WhoHoldsAnotherJobOfTheSameNameIsTold) {
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

// ---- What workers say
// --------------------------------------------------------------------------------

TEST_F(CoordinatorMachineTest, AFailureNamesItsCauseAndItsWorker) {
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

TEST_F(CoordinatorMachineTest, AWrongChecksumFailsTheJob) {
  world_.AddWorker("w1")->CorruptResults();
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_EQ(Job("job1").error().code(), static_cast<int>(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("step 0 of jobs/job1 from worker w1"));
  EXPECT_EQ(Job("job1").committed_steps(), 0);
}

TEST_F(CoordinatorMachineTest, ARepeatedResultIsAcknowledgedAgainAndADifferentOneFailsTheJob) {
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
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_EQ(Job("job1").error().code(), static_cast<int>(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Job("job1").error().message(),
              HasSubstr("step 2 of jobs/job1, computed again by worker w1"));
}

// Every message of a worker that names a generation, sent with a stale one: nothing may change. The
// positive twin is the same message with the current generation.
TEST_F(CoordinatorMachineTest, StaleGenerationsChangeNothing) {
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

TEST_F(CoordinatorMachineTest, GapsAndMalformedMessagesCloseTheStream) {
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

TEST_F(CoordinatorMachineTest, OtherProtocolVersionsAreRefused) {
  v1::Hello hello;
  hello.set_worker_id("w1");
  hello.set_device_kind(v1::CPU);
  hello.set_protocol_version(limits::kProtocolVersion + 1);
  world_.AddWorker("w0");
  Effects effects = world_.InjectHello(hello);
  ASSERT_EQ(effects.closes.size(), 1);
  EXPECT_EQ(effects.closes[0].status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(
      effects.closes[0].status.message(),
      "the worker speaks protocol version 2, the coordinator version 1: upgrade the coordinator");
  hello.set_protocol_version(limits::kProtocolVersion - 1);
  effects = world_.InjectHello(hello);
  EXPECT_THAT(std::string(effects.closes.at(0).status.message()), HasSubstr("upgrade the worker"));
  hello.set_protocol_version(limits::kProtocolVersion);
  EXPECT_TRUE(world_.InjectHello(hello).closes.empty());
}

TEST_F(CoordinatorMachineTest, AWorkerIdIsConnectedOnce) {
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

TEST_F(CoordinatorMachineTest, GroupsThatNeverCommitAStepEndTheJob) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 2, 2).ok());
  for (int i = 0; i < limits::kMaxFruitlessGenerations; ++i) {
    EXPECT_EQ(Job("job1").state(), v1::RUNNING);
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
  }
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("no route to w1"));
}

TEST_F(CoordinatorMachineTest, GroupsThatHoldEachOthersWorkersComeApart) {
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

// ---- Clients
// -------------------------------------------------------------------------------------------

TEST_F(CoordinatorMachineTest, TheSameRequestMakesOneJob) {
  v1::CreateJobRequest request = ToyRequest("", 5, 1, 1);
  request.set_request_id("123e4567-e89b-42d3-a456-426614174000");
  const v1::Job first = world_.Create(request).value();
  EXPECT_EQ(world_.Create(request)->uid(), first.uid());
  world_.RestartCoordinator();
  EXPECT_EQ(world_.Create(request)->uid(), first.uid());
  request.mutable_spec()->set_steps(6);
  const absl::Status other = world_.Create(request).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(GetFieldViolations(other).size(), 1);
  EXPECT_EQ(GetFieldViolations(other)[0].field, "request_id");
  request.set_request_id("223e4567-e89b-42d3-a456-426614174000");
  EXPECT_NE(world_.Create(request)->uid(), first.uid());
}

TEST_F(CoordinatorMachineTest, BadRequestsNameTheirFields) {
  v1::CreateJobRequest request = ToyRequest("Bad", 0, 1, 1);
  request.set_request_id("7");
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(world_.Create(request).status())) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, ElementsAre("job_id", "spec.steps", "request_id"));
  request.clear_spec();
  EXPECT_EQ(world_.Create(request).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(world_.Create(ToyRequest("good", 1, 1, 1)).ok());
}

TEST_F(CoordinatorMachineTest, ANameIsTakenOnce) {
  ASSERT_TRUE(world_.Create("job1", 5, 1, 1).ok());
  EXPECT_EQ(world_.Create("job1", 5, 1, 1).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(world_.Create("job2", 5, 1, 1).ok());
}

TEST_F(CoordinatorMachineTest, ValidateOnlyKeepsNothing) {
  v1::CreateJobRequest request = ToyRequest("job1", 5, 1, 1);
  request.set_validate_only(true);
  const v1::Job job = world_.Create(request).value();
  EXPECT_EQ(job.spec().estimator().population(), 2);
  EXPECT_EQ(world_.Get("job1").status().code(), absl::StatusCode::kNotFound);
  request.mutable_spec()->set_steps(-1);
  EXPECT_EQ(world_.Create(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(CoordinatorMachineTest, CancellingEndsAJobOnce) {
  ASSERT_TRUE(world_.Create("job1", 5, 1, 1).ok());
  EXPECT_EQ(world_.Cancel("job1")->state(), v1::CANCELLED);
  EXPECT_EQ(world_.Cancel("job1")->state(), v1::CANCELLED);
  EXPECT_EQ(world_.Cancel("job9").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(world_.Create("job2", 5, 1, 1).ok());
  world_.AddWorker("w1");
  world_.Quiesce();
  ExpectFinished("job2");
  EXPECT_EQ(world_.Cancel("job2").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(CoordinatorMachineTest, ListsComeInPages) {
  for (const char* id : {"job1", "job2", "job3"}) ASSERT_TRUE(world_.Create(id, 5, 1, 1).ok());
  ListJobsInput input{world_.NextCall(), {}};
  input.request.set_page_size(2);
  auto page = std::get<v1::ListJobsResponse>(*world_.Call(input));
  ASSERT_EQ(page.jobs_size(), 2);
  EXPECT_EQ(page.jobs(0).name(), "jobs/job3");
  EXPECT_FALSE(page.jobs(0).has_spec());
  EXPECT_THAT(page.jobs(0).reason(), HasSubstr("waiting for 1 worker"));
  ASSERT_FALSE(page.next_page_token().empty());
  input.call = world_.NextCall();
  input.request.set_page_token(page.next_page_token());
  page = std::get<v1::ListJobsResponse>(*world_.Call(input));
  ASSERT_EQ(page.jobs_size(), 1);
  EXPECT_EQ(page.jobs(0).name(), "jobs/job1");
  EXPECT_EQ(page.next_page_token(), "");
  for (const char* token : {"x", "am9icy8", "d29ya2Vycy8z"}) {
    input.call = world_.NextCall();
    input.request.set_page_token(token);
    EXPECT_EQ(world_.Call(input).status().code(), absl::StatusCode::kInvalidArgument) << token;
  }
}

TEST_F(CoordinatorMachineTest, WorkersAreListed) {
  for (const char* id : {"w1", "w2", "w3"}) world_.AddWorker(id);
  ASSERT_TRUE(world_.Create("job1", 5, 1, 1).ok());
  ListWorkersInput input{world_.NextCall(), {}};
  input.request.set_page_size(2);
  auto page = std::get<v1::ListWorkersResponse>(*world_.Call(input));
  ASSERT_EQ(page.workers_size(), 2);
  EXPECT_EQ(page.workers(0).name(), "workers/w1");
  EXPECT_EQ(page.workers(0).state(), v1::ASSIGNED);
  EXPECT_EQ(page.workers(0).job(), "jobs/job1");
  EXPECT_EQ(page.workers(1).state(), v1::FREE);
  input.call = world_.NextCall();
  input.request.set_page_token(page.next_page_token());
  page = std::get<v1::ListWorkersResponse>(*world_.Call(input));
  ASSERT_EQ(page.workers_size(), 1);
  EXPECT_EQ(page.workers(0).name(), "workers/w3");
}

// ---- Checkpoints
// -----------------------------------------------------------------------------------------

TEST_F(CoordinatorMachineTest, TheLastTwoCheckpointsAreKept) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  ASSERT_TRUE(world_.Create(request).ok());
  world_.Quiesce();
  ExpectFinished("job1");
  ListCheckpointsInput input{world_.NextCall(), {}};
  input.request.set_parent("jobs/job1");
  const auto page = std::get<v1::ListCheckpointsResponse>(*world_.Call(input));
  ASSERT_EQ(page.checkpoints_size(), 2);
  EXPECT_EQ(page.checkpoints(0).step(), 15);
  EXPECT_EQ(page.checkpoints(1).name(), "jobs/job1/checkpoints/20");
  FindCheckpointInput find{world_.NextCall(), {}};
  find.request.set_name("jobs/job1/checkpoints/5");
  EXPECT_EQ(world_.Call(find).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CoordinatorMachineTest, OnlyTheCurrentGenerationUploads) {
  world_.AddWorker("w1");
  const v1::Job job = world_.Create("job1", 20, 1, 1).value();
  v1::UploadCheckpointRequest header;
  header.set_job("jobs/job1");
  header.set_job_uid(job.uid());
  header.set_step(3);
  header.set_size_bytes(10);
  header.set_sha256(std::string(64, '0'));
  header.set_generation(2);
  EXPECT_EQ(world_.Call(BeginUploadInput{world_.NextCall(), header}).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(world_.Call(FinishUploadInput{world_.NextCall(), header}).status().code(),
            absl::StatusCode::kAborted);
  header.set_generation(1);
  EXPECT_TRUE(world_.Call(BeginUploadInput{world_.NextCall(), header}).ok());
  EXPECT_TRUE(world_.Call(FinishUploadInput{world_.NextCall(), header}).ok());
  header.set_job_uid("another");
  EXPECT_EQ(world_.Call(BeginUploadInput{world_.NextCall(), header}).status().code(),
            absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace evograd
