// Goal: who failed is named and set aside, the others go on; a job fails only for what every worker
// would meet; what stands still is seen and ended; equals compute together. Method: one story per
// test with model workers (testing/world.h).

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/groups.h"
#include "server/core/testing/world_test.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ToyRequest;

constexpr char kNoData[] = "there is no train-images-idx3-ubyte in /data";

class GroupsFailuresTest : public testing::WorldTest {
 protected:
  // job1 computes on w1, and w2 is called into its second generation.
  void GrowToTwo() {
    world_.AddWorker("w1");
    ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
    RunToStep("job1", 4);
    world_.AddWorker("w2");
    LetNewcomersPrepare();
    DeliverAll("w1");
    world_.Work("w1");
    while (world_.DeliverToCoordinator("w1")) {
    }
    ASSERT_EQ(Job("job1").generation(), 2);
  }
};

TEST_F(GroupsFailuresTest, ANewcomerThatCannotReadTheDataDisturbsNobody) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  RunToStep("job1", 4);
  world_.AddWorker("w2")->FailToPrepare(kNoData);
  LetNewcomersPrepare();
  EXPECT_EQ(Job("job1").generation(), 1);
  EXPECT_THAT(Notices("job1"), ElementsAre(HasSubstr("w2 is not used for jobs/job1 for 10 s")));
  DeliverAll("w2");
  while (world_.DeliverToCoordinator("w2")) {
  }
  EXPECT_EQ(Worker("w2").state(), v1::FREE);
  EXPECT_THAT(Worker("w2").reason(), HasSubstr(kNoData));
  // Once its data is there it is tried again, and joins.
  world_.worker("w2")->FailToPrepare("");
  world_.Pass(limits::kSetAsideMinMs);
  LetNewcomersPrepare();
  RunToStep("job1", 8);
  EXPECT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(Job("job1").workers_size(), 2);
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsFailuresTest, TheGroupBeginsWithoutWhoCannotReadTheData) {
  world_.AddWorker("w1");
  world_.AddWorker("w2")->FailToPrepare(kNoData);
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  EXPECT_EQ(Job("job1").workers_size(), 2);
  DeliverAll("w2");
  world_.Work("w2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
}

TEST_F(GroupsFailuresTest, WhatAllWorkersMeetFailsTheJobAtOnce) {
  for (const char* id : {"w1", "w2"}) world_.AddWorker(id)->FailToPrepare(kNoData);
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(),
              AllOf(HasSubstr(kNoData), HasSubstr("2 workers failed at the job")));
  EXPECT_EQ(Job("job1").reason(), Job("job1").error().message());
}

TEST_F(GroupsFailuresTest, WhatSeveralWorkersMeetFailsTheJobThoughThereAreMore) {
  for (const char* id : {"w1", "w2", "w3", "w4", "w5"}) {
    world_.AddWorker(id)->FailToPrepare(kNoData);
  }
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("3 workers failed at the job"));
  EXPECT_EQ(Job("job1").generation(), limits::kSeveralWorkers);
}

TEST_F(GroupsFailuresTest, AFailureOfOneMemberLeavesTheJobToTheOthers) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 2).ok());
  RunToStep("job1", 4);
  world_.worker("w2")->FailNext("the device has no memory left", v1::JOB_HERE);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsFailuresTest, WhatWorkedBeforeIsTriedOnceMore) {
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(2);
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 4);
  world_.worker("w1")->FailNext("picture 7 cannot be read", v1::JOB_HERE);
  world_.Quiesce();
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  EXPECT_THAT(Job("job1").reason(), HasSubstr("picture 7 cannot be read"));
  world_.RunUntilEnded("job1", limits::kSetAsideMinMs + 5000);
  ExpectFinished("job1");
}

TEST_F(GroupsFailuresTest, WhatFailsAgainWithoutANewStepFailsTheJob) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  world_.worker("w1")->FailToPrepare("picture 7 cannot be read");
  world_.worker("w1")->FailNext("picture 7 cannot be read", v1::JOB_HERE);
  world_.RunUntilEnded("job1", limits::kSetAsideMinMs + 5000);
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(), HasSubstr("picture 7"));
}

TEST_F(GroupsFailuresTest, ANewcomerThatCannotBeReachedIsSetAsideAndTheOthersGoOn) {
  GrowToTwo();
  // Each accuses the other; w1 has worked before.
  world_.worker("w1")->LeaveUnasked("cannot connect to rank 1", {1});
  world_.worker("w2")->LeaveUnasked("cannot connect to rank 0", {0});
  for (const char* id : {"w2", "w1"}) {
    DeliverAll(id);
    world_.Work(id);
  }
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
  EXPECT_THAT(Notices("job1"), ElementsAre(HasSubstr("w2 is not used for jobs/job1")));
}

// Only the newcomer dials, so only it accuses: and still it is the one that never worked.
TEST_F(GroupsFailuresTest, ANewcomerThatCannotReachTheOthersIsSetAside) {
  GrowToTwo();
  world_.worker("w2")->LeaveUnasked("cannot connect to rank 0", {0});
  DeliverAll("w2");
  world_.Work("w2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
}

// Two that worked together are cut off from each other: one of them goes on.
TEST_F(GroupsFailuresTest, WhoCannotReachEachOtherAnyMoreDoNotFailTheJob) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  RunToStep("job1", 4);
  for (int i = 0; i < 20 && Job("job1").workers_size() == 2; ++i) {
    world_.worker("w2")->LeaveUnasked("the connection to rank 0 is gone", {0});
    for (int turn = 0; turn < 4; ++turn) {
      for (const char* id : {"w2", "w1"}) {
        DeliverAll(id);
        if (!world_.worker(id)->in_generation() || id == std::string("w2")) world_.Work(id);
        while (world_.DeliverToCoordinator(id)) {
        }
      }
    }
    world_.Pass(limits::kRetryMaxMs / 10);
  }
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").workers_size(), 1);
}

// One failure, of which all members speak.
TEST_F(GroupsFailuresTest, WhatAllMembersSayAtOnceIsOneFailure) {
  v1::CreateJobRequest request = ToyRequest("job1", 30, 1, 7);
  request.mutable_spec()->set_checkpoint_interval_steps(2);
  for (int i = 1; i <= 7; ++i) world_.AddWorker("w" + std::to_string(i));
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 6);
  for (int i = 1; i <= 7; ++i) {
    const std::string id = "w" + std::to_string(i);
    world_.worker(id)->FailNext("the ranks hold different parameters", v1::STATE_IN_DOUBT);
    world_.Work(id);
  }
  world_.RunUntilEnded("job1", limits::kSetAsideMinMs + 10'000);
  ExpectFinished("job1");
}

// Damaged data of one says nothing of what the others hold; other parameters do.
TEST_F(GroupsFailuresTest, WhatIsInDoubtIsNotGoneOnWithButWhatIsNotIs) {
  for (const v1::FailureScope scope : {v1::JOB_HERE, v1::STATE_IN_DOUBT}) {
    const std::string id = absl::StrCat("job-", v1::FailureScope_Name(scope).size());
    world_.AddWorker(id + "a");
    world_.AddWorker(id + "b");
    v1::CreateJobRequest request = ToyRequest(id, 20, 1, 2);
    request.mutable_spec()->set_checkpoint_interval_steps(2);
    ASSERT_TRUE(world_.Create(request).ok());
    RunToStep(id, 5);
    v1::WorkerMessage message;
    v1::JobFailed* failed = message.mutable_failed();
    failed->set_job("jobs/" + id);
    failed->set_generation(Job(id).generation());
    failed->mutable_error()->set_code(static_cast<int>(absl::StatusCode::kDataLoss));
    failed->mutable_error()->set_message("damaged");
    failed->set_scope(scope);
    world_.Inject(id + "b", message);
    world_.Quiesce();
    ExpectFinished(id);
    std::string checkpoint;
    for (const v1::CoordinatorMessage& sent : world_.sent(id + "a")) {
      absl::StrAppend(&checkpoint, sent.start_generation().checkpoint());
    }
    EXPECT_EQ(checkpoint.empty(), scope == v1::JOB_HERE) << checkpoint;
    world_.Kill(id + "a");
    world_.Kill(id + "b");
  }
}

TEST_F(GroupsFailuresTest, WhatHadLeftBeforeTheDoubtWasToldIsNotGoneOnWithEither) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 2);
  request.mutable_spec()->set_checkpoint_interval_steps(2);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 5);
  world_.worker("w1")->LeaveUnasked("the ranks hold different parameters");
  Turn("w1");
  ASSERT_EQ(Job("job1").reason(), "forming a new group: waiting for w2 to leave generation 1");
  world_.worker("w2")->FailNext("the ranks hold different parameters", v1::STATE_IN_DOUBT);
  // It says so before it hears that the generation is over.
  world_.Work("w2");
  SendAll("w2");
  ASSERT_EQ(Job("job1").generation(), 2);
  EXPECT_EQ(world_.sent("w1").back().start_generation().checkpoint(), "jobs/job1/checkpoints/4");
  world_.Quiesce();
  ExpectFinished("job1");
}

// The next checkpoint is another beginning: no pause, and none of the tries that a job has.
TEST_F(GroupsFailuresTest, FallingBackToOlderCheckpointsCostsNoPatience) {
  v1::CreateJobRequest request = ToyRequest("job1", 40, 1, 1);
  request.mutable_spec()->mutable_keep_checkpoints()->set_every_steps(1);
  world_.AddWorker("w1");
  const v1::Job job = world_.Create(request).value();
  RunToStep("job1", 30);
  world_.Kill("w1");
  world_.AddWorker("w2");
  world_.Pass(limits::kReattachGraceMs + limits::kTickIntervalMs);
  for (int64_t damaged = 0; damaged <= limits::kMaxFruitlessGenerations; ++damaged) {
    ASSERT_EQ(Job("job1").generation(), 2 + damaged) << Job("job1").reason();
    FindCheckpointInput find{world_.NextCall(), {}};
    find.request.set_name(world_.sent("w2").back().start_generation().checkpoint());
    const auto location = std::get<CheckpointLocation>(*world_.Call(find));
    const DamagedCheckpointInput input{world_.NextCall(), job.uid(), location.checkpoint};
    ASSERT_TRUE(world_.Call(input).ok());
    Turn("w2");
  }
  // Where it is the worker, there is a pause with its reason.
  for (int i = 0; i < 2; ++i) {
    world_.worker("w2")->LeaveUnasked("its disk cannot be read");
    Turn("w2");
  }
  EXPECT_THAT(Job("job1").reason(), HasSubstr("after 2 groups that did not get anywhere: worker w2 "
                                              "left: its disk cannot be read"));
  world_.RunUntilEnded("job1", 5000);
  ExpectFinished("job1");
}

TEST_F(GroupsFailuresTest, ANewcomerForWhomThereIsNoRoomAnyMoreIsFree) {
  world_.AddWorker("w1");
  world_.AddWorker("w3");
  ASSERT_TRUE(world_.Create("job1", 60, 1, 2).ok());
  RunToStep("job1", 4);
  world_.CutStream("w3");
  RunToStep("job1", 8);
  world_.AddWorker("w2");
  world_.Pass(limits::kGrowthDelayMs + limits::kTickIntervalMs);
  DeliverAll("w2");
  ASSERT_EQ(Worker("w2").state(), v1::PREPARING);
  // The group is formed anew, and w3 is back before w2 is ready.
  world_.CutStream("w1");
  for (const char* id : {"w1", "w3"}) world_.Dial(id);
  for (const char* id : {"w1", "w3"}) Turn(id);
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1", "workers/w3"));
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_FALSE(world_.worker("w2")->holds_job());
  EXPECT_EQ(Worker("w2").state(), v1::FREE);
}

TEST_F(GroupsFailuresTest, AFailureForAnyJobKeepsTheWorkerFromAllJobs) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  ASSERT_TRUE(world_.Create("job2", 20, 1, 1).ok());
  world_.worker("w1")->FailNext("the interface address is not of this host", v1::ANY_JOB_HERE);
  DeliverAll("w1");
  world_.Work("w1");
  while (world_.DeliverToCoordinator("w1")) {
  }
  DeliverAll("w1");
  while (world_.DeliverToCoordinator("w1")) {
  }
  EXPECT_EQ(Worker("w1").state(), v1::SET_ASIDE);
  EXPECT_THAT(Worker("w1").reason(), HasSubstr("set aside for 10 s: the interface address"));
  EXPECT_NE(Job("job1").state(), v1::FAILED);
  EXPECT_EQ(Job("job2").state(), v1::PENDING);
  // Its next process is another one.
  world_.Kill("w1");
  world_.AddWorker("w1");
  world_.RunUntilEnded("job2", 15'000);
  ExpectFinished("job1");
  ExpectFinished("job2");
}

TEST_F(GroupsFailuresTest, AnEngineThatStandsStillIsLeftBehind) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  RunToStep("job1", 4);
  // Waiting for a rank that computes is no standing still, however long.
  Beat("w1", "step 5", 500, 500, true);
  Beat("w2", "step 5", 500, 0, false);
  world_.Pass(limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").generation(), 1);
  Beat("w2", "step 5", 561, 61, false);
  world_.Pass(limits::kTickIntervalMs);
  EXPECT_THAT(Notices("job1"), ElementsAre(AllOf(HasSubstr("w2 is set aside"),
                                                 HasSubstr("stood still for 61 s at `step 5`"))));
  // It was told to drop its job, and until it has it is given nothing.
  world_.Freeze("w2");
  world_.Pass(2000);
  EXPECT_EQ(Worker("w2").state(), v1::BUSY);
  DeliverAll("w1");
  world_.Work("w1");
  world_.RunUntilEnded("job1", 3000);
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
}

TEST_F(GroupsFailuresTest, WhoComesBackWithAnEngineThatIsStillAtAJobIsBusyUntilItHasDroppedIt) {
  world_.AddWorker("w1")->identity()->set_busy_job("jobs/job0");
  world_.CutStream("w1");
  world_.Dial("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  world_.Pass(limits::kLeaveTimeoutMs * 4);
  EXPECT_TRUE(world_.IsConnected("w1"));
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  EXPECT_EQ(Worker("w1").state(), v1::BUSY);
  EXPECT_THAT(Worker("w1").reason(), HasSubstr("was told to drop jobs/job0"));
  world_.worker("w1")->identity()->clear_busy_job();
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsFailuresTest, AGroupWhoseMembersAllWaitForEachOtherIsFormedAnew) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 30, 2, 2).ok());
  RunToStep("job1", 4);
  world_.Pass(limits::kSilentStepMs);
  Beat("w1", "step 5", 61, 61, true);
  Beat("w2", "storing step 5", 61, 0, false);
  world_.Pass(limits::kTickIntervalMs);
  EXPECT_EQ(Job("job1").reason(), "computing on 2 workers; w2 is at `storing step 5`");
  EXPECT_EQ(Worker("w1").reason(), "step 5, waiting for others for 61 s");
  Beat("w2", "step 5", 61, 61, true);
  EXPECT_EQ(Job("job1").reason(), "computing on 2 workers; its workers wait for each other");
  world_.Pass(limits::kTickIntervalMs);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
}

TEST_F(GroupsFailuresTest, AJobThatStandsStillSaysWhy) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 1).ok());
  RunToStep("job1", 4);
  world_.Pass(limits::kSilentStepMs - 1000);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker");
  Beat("w1", "evaluation", 9, 0, false);
  world_.Pass(2000);
  Beat("w1", "evaluation", 11, 0, false);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker; w1 is at `evaluation`");
  Beat("w1", "step 5", 12, 12, true);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker; w1 is at `step 5`, waiting for others");
  RunToStep("job1", 5);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker");
}

TEST_F(GroupsFailuresTest, ATroubleIsSeenUntilItIsOver) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 30, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(8);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 4);
  v1::WorkerMessage message;
  message.mutable_trouble()->set_job("jobs/job1");
  message.mutable_trouble()->set_generation(1);
  message.mutable_trouble()->set_text("the checkpoint of step 3 is not stored: no space");
  for (int i = 0; i < 5; ++i) world_.Inject("w1", message);
  EXPECT_EQ(Job("job1").reason(),
            "computing on 1 worker; the checkpoint of step 3 is not stored: no space");
  EXPECT_EQ(Notices("job1").size(), 1);
  RunToStep("job1", 12);
  EXPECT_EQ(Job("job1").reason(), "computing on 1 worker");
}

// A worker that was away comes back, after the others died, with a state from long ago.
TEST_F(GroupsFailuresTest, ANewerCheckpointBeatsAnOldState) {
  v1::CreateJobRequest request = ToyRequest("job1", 40, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 3);
  const v1::Hello old = [&] {
    world_.Freeze("w1");
    world_.AddWorker("w2");
    world_.Pass(limits::kHeartbeatTimeoutMs + limits::kReattachGraceMs + 1000);
    RunToStep("job1", 22);
    return world_.worker("w1")->Hello();
  }();
  ASSERT_EQ(old.held().phases() / 2, 3);
  world_.Kill("w2");
  world_.Thaw("w1");
  world_.Dial("w1");
  world_.RunUntilEnded("job1", limits::kReattachGraceMs + 1000);
  ExpectFinished("job1");
  bool restored = false;
  for (const v1::CoordinatorMessage& sent : world_.sent("w1")) {
    restored |= sent.start_generation().checkpoint() == "jobs/job1/checkpoints/20";
  }
  EXPECT_TRUE(restored);
  EXPECT_THAT(Notices("job1"), Contains(HasSubstr("is older than the checkpoint of step 20")));
}

TEST_F(GroupsFailuresTest, OnlyEqualMachinesComputeTogether) {
  const auto add = [&](const std::string& id, const std::string& numerics) {
    world_.AddWorker(id);
    world_.CutStream(id);
    world_.worker(id)->identity()->set_numerics(numerics);
    world_.Dial(id);
  };
  add("w1", "AVX2");
  v1::CreateJobRequest request = ToyRequest("job1", 30, 1, 3);
  request.mutable_spec()->set_checkpoint_interval_steps(2);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 4);
  EXPECT_EQ(Job("job1").numerics(), "AVX2");
  add("w2", "AVX512");
  world_.Pass(5000);
  EXPECT_TRUE(world_.worker("w2")->job_uid().empty());
  world_.Kill("w1");
  world_.Pass(limits::kReattachGraceMs + 1000);
  EXPECT_EQ(Job("job1").state(), v1::PENDING);
  EXPECT_THAT(Job("job1").reason(),
              HasSubstr("1 other computes differently from those that began the job (AVX2)"));
  add("w3", "AVX2");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w3"));
}

TEST_F(GroupsFailuresTest, WorkersAreToldWhetherLoopbackReachesAll) {
  const auto several = [&](const std::string& job, const std::string& id) {
    bool found = false;
    for (const v1::CoordinatorMessage& sent : world_.sent(id)) {
      if (sent.start_generation().job() == job) found = sent.start_generation().several_hosts();
    }
    return found;
  };
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 3, 2, 2).ok());
  EXPECT_FALSE(several("jobs/job1", "w1"));
  world_.Quiesce();
  for (const char* id : {"w1", "w2"}) {
    world_.CutStream(id);
    world_.worker(id)->identity()->set_network(std::string("host of ") + id);
    world_.Dial(id);
  }
  ASSERT_TRUE(world_.Create("job2", 3, 2, 2).ok());
  EXPECT_TRUE(several("jobs/job2", "w1"));
  EXPECT_TRUE(several("jobs/job2", "w2"));
}

// Two containers, both process 1 of a host of the same name: the second is not the first.
TEST_F(GroupsFailuresTest, ASecondProcessOfTheSameIdIsRefusedThoughHostAndNumberAgree) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  RunToStep("job1", 4);
  v1::Hello hello = world_.worker("w1")->Hello();
  hello.set_process_nonce("another");
  const Effects effects = world_.InjectHello(hello);
  ASSERT_EQ(effects.closes.size(), 1);
  EXPECT_EQ(effects.closes[0].status.code(), absl::StatusCode::kAlreadyExists);
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 1);
}

// That it could not be reached is no fault of those that tried.
TEST_F(GroupsFailuresTest, WhoLeftByItselfIsTheReasonWhyOthersCouldNotReachIt) {
  GrowToTwo();
  DeliverAll("w1");
  world_.worker("w1")->LeaveUnasked("for a reason of its own");
  world_.Work("w1");
  // What followed from it is heard first.
  world_.worker("w2")->LeaveUnasked("cannot connect to rank 0", {0});
  Turn("w2");
  SendAll("w1");
  EXPECT_THAT(Notices("job1"), ElementsAre());
  EXPECT_EQ(Job("job1").workers_size(), 2);
  world_.Quiesce();
  ExpectFinished("job1");
}

// An engine that spins uses processor time, and never ends its step.
TEST_F(GroupsFailuresTest, AnEngineThatIsAtOneStepForEverIsLeftBehind) {
  for (const int64_t evaluation_interval : {0, 5}) {
    SCOPED_TRACE(evaluation_interval);
    const std::string name = absl::StrCat("job", evaluation_interval);
    v1::CreateJobRequest request = ToyRequest(name, 30, 2, 2);
    request.mutable_spec()->set_evaluation_interval_steps(evaluation_interval);
    const std::string a = absl::StrCat("a", evaluation_interval);
    const std::string b = absl::StrCat("b", evaluation_interval);
    for (const std::string& id : {a, b}) world_.AddWorker(id);
    ASSERT_TRUE(world_.Create(request).ok());
    RunToStep(name, 4);
    // Their heartbeats come from here.
    for (const std::string& id : {a, b}) world_.Freeze(id);
    const auto beat = [&](int64_t seconds) {
      Beat(a, "step 4", static_cast<double>(seconds), 0, true);
      Beat(b, "step 4", static_cast<double>(seconds), 0, false);
      world_.Pass(1000);
    };
    beat(1);
    // All was stopped for an hour: that is no work.
    world_.Stall(3'600'000);
    for (int64_t second = 3602; second < 3600 + limits::kEndlessStepMs / 1000 - 5; ++second) {
      beat(second);
    }
    EXPECT_EQ(Job(name).generation(), 1);
    EXPECT_THAT(Job(name).reason(), HasSubstr(b + " is at `step 4`"));
    EXPECT_THAT(Notices(name), ElementsAre());
    for (int64_t second = 0; second < 20 && Notices(name).empty(); ++second) {
      beat(3600 + limits::kEndlessStepMs / 1000 + second);
    }
    if (evaluation_interval > 0) {
      // Step 4 ends with an evaluation, which may take any time.
      EXPECT_THAT(Notices(name), ElementsAre());
    } else {
      EXPECT_THAT(Notices(name),
                  ElementsAre(AllOf(HasSubstr(b + " is set aside for 10 s"),
                                    HasSubstr("busy for 600 s at `step 4`, where the longest"))));
    }
    for (const std::string& id : {a, b}) world_.Thaw(id);
    world_.RunUntilEnded(name, limits::kSetAsideMinMs + 5000);
    ExpectFinished(name);
    for (const std::string& id : {a, b}) world_.Kill(id);
  }
}

}  // namespace
}  // namespace evograd
