// Goal: a group goes on with those that worked; who is lost, breaks off or leaves before it has
// done anything, again and again, is left out and named; what looks like that and is none costs
// nobody anything. Method: one story per test with model workers (testing/world.h).

#include <string>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/groups.h"
#include "server/core/testing/world_test.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ToyRequest;

using GroupsLossesTest = testing::WorldTest;

// A group that has enough members does not take one that has shown nothing yet.
TEST_F(GroupsLossesTest, AGroupThatLostAMemberGoesOnWithThoseThatWorked) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 40, 1, 2).ok());
  RunToStep("job1", 4);
  world_.AddWorker("w3")->FailToPrepare("there are no pictures in /data");
  world_.Kill("w2");
  RunToStep("job1", 8);
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
  LetNewcomersPrepare();
  EXPECT_THAT(Notices("job1"), ElementsAre(HasSubstr("w3 is not used for jobs/job1 for 10 s")));
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").generation(), 2);
}

TEST_F(GroupsLossesTest, AGroupThatIsTooSmallSaysThatANewcomerStillReads) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 40, 2, 3).ok());
  RunToStep("job1", 4);
  world_.AddWorker("w3");
  world_.Pass(limits::kGrowthDelayMs + limits::kTickIntervalMs);
  DeliverAll("w3");
  world_.Kill("w2");
  Turn("w1");
  EXPECT_EQ(Job("job1").reason(),
            "needs 1 more CPU worker; none is free; w3 still reads the job's data");
  Turn("w3");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1", "workers/w3"));
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(GroupsLossesTest, AMemberThatDiesInItsFirstStepAgainAndAgainIsLeftOutForLongerAndLonger) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 100, 1, 2).ok());
  for (int death = 1; death <= 4; ++death) {
    RunToStep("job1", 4 * death);
    world_.AddWorker("w2");
    if (death > limits::kLossesBeforeBlame) {
      const int64_t wait = limits::kSetAsideMinMs << (death - 1 - limits::kLossesBeforeBlame);
      EXPECT_THAT(Worker("w2").reason(),
                  AllOf(HasSubstr("not used for jobs/job1"),
                        HasSubstr(absl::StrCat("it was lost ", death - 1, " times"))));
      world_.Pass(wait - 2000);
      EXPECT_EQ(Job("job1").workers_size(), 1);
      world_.Pass(2000);
    }
    LetNewcomersPrepare();
    Turn("w1");
    ASSERT_EQ(Job("job1").workers_size(), 2) << death;
    world_.Kill("w2");
  }
  // Its machine was mended.
  RunToStep("job1", 20);
  world_.AddWorker("w2");
  world_.Pass(limits::kSetAsideMinMs << 2);
  LetNewcomersPrepare();
  Turn("w1");
  ASSERT_EQ(Job("job1").workers_size(), 2);
  RunToStep("job1", 30);
  EXPECT_THAT(Worker("w2").reason(), Not(HasSubstr("not used")));
  world_.Quiesce();
  ExpectFinished("job1");
}

// Accidents between which the group computes.
TEST_F(GroupsLossesTest, WhoIsKilledNowAndThenIsUsedAgainAtOnce) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 100, 1, 2).ok());
  for (int kill = 1; kill <= 6; ++kill) {
    world_.AddWorker("w2");
    RunToStep("job1", Job("job1").committed_steps() + 2);
    LetNewcomersPrepare();
    Turn("w1");
    RunToStep("job1", Job("job1").committed_steps() + 2);
    ASSERT_EQ(Job("job1").workers_size(), 2) << kill;
    world_.Kill("w2");
  }
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Notices("job1"), ElementsAre());
}

TEST_F(GroupsLossesTest, AnOnlyWorkerThatDiesAgainAndAgainEndsTheJobByItsName) {
  ASSERT_TRUE(world_.Create("job1", 20, 1, 1).ok());
  for (int death = 1; death <= limits::kMaxFailuresWithoutProgress; ++death) {
    ASSERT_NE(Job("job1").state(), v1::FAILED) << death;
    world_.AddWorker("w1");
    if (death > limits::kLossesBeforeBlame) {
      EXPECT_THAT(Job("job1").reason(), HasSubstr("w1"));
    }
    WaitForGeneration(death, limits::kSetAsideMaxMs);
    world_.Kill("w1");
  }
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(),
              HasSubstr("worker w1 was lost 6 times before it had computed a step"));
  EXPECT_EQ(Job("job1").error().worker(), "workers/w1");
}

// What the donor computed before does not show that the others can.
TEST_F(GroupsLossesTest, ResultsThatADonorBringsAreNoStepOfItsGroup) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  v1::CreateJobRequest request = ToyRequest("job1", 30, 2, 2);
  request.mutable_spec()->set_pipeline_depth(4);
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 4);
  for (int i = 0; i < 4; ++i) world_.Work("w1");
  world_.CutStream("w1");
  world_.Dial("w1");
  Turn("w2");
  Turn("w1");
  ASSERT_EQ(Job("job1").generation(), 2);
  const int64_t before = Job("job1").committed_steps();
  Turn("w1");
  ASSERT_GT(Job("job1").committed_steps(), before);
  world_.Kill("w2");
  Turn("w1");
  world_.AddWorker("w2");
  ASSERT_EQ(Job("job1").generation(), 3);
  world_.Kill("w2");
  EXPECT_THAT(Notices("job1"), ElementsAre(HasSubstr("w2 is not used for jobs/job1 for 10 s")));
  Turn("w1");
  world_.AddWorker("w2");
  world_.RunUntilEnded("job1", limits::kSetAsideMinMs + 5000);
  ExpectFinished("job1");
}

TEST_F(GroupsLossesTest, WhoseStreamBreaksAgainAndAgainIsLeftOut) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  for (int64_t i = 1; i <= 20 && Job("job1").workers_size() == 2; ++i) {
    WaitForGeneration(i, limits::kRetryMaxMs + 1000);
    for (const char* id : {"w1", "w2"}) DeliverAll(id);
    world_.CutStream("w2");
    // It is back before the others have left.
    world_.Dial("w2");
    for (const char* id : {"w1", "w2"}) Turn(id);
    if (Job("job1").generation() == i) world_.Pass(limits::kTickIntervalMs);
  }
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsLossesTest, WhoLeavesAgainAndAgainWithoutAnythingToLoseIsLeftOut) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  for (int64_t i = 1; i <= 20 && Job("job1").workers_size() == 2; ++i) {
    WaitForGeneration(i, limits::kRetryMaxMs + 1000);
    world_.worker("w1")->LeaveUnasked("checkpoint 5 could not be fetched");
    for (const char* id : {"w1", "w2"}) Turn(id);
  }
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w2"));
  EXPECT_THAT(Notices("job1"),
              ElementsAre(HasSubstr("w1 is not used for jobs/job1 for 10 s: checkpoint 5")));
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsLossesTest, ResultsThatComeAfterTheGenerationHasEndedAreProgress) {
  world_.AddWorker("w1");
  world_.AddWorker("w2");
  ASSERT_TRUE(world_.Create("job1", 60, 2, 2).ok());
  for (int64_t i = 1; i <= limits::kMaxFruitlessGenerations + 5; ++i) {
    ASSERT_EQ(Job("job1").generation(), i) << Job("job1").ShortDebugString();
    DeliverAll("w1");
    // It joins and computes a step; that is on its way when w2 leaves.
    for (int phase = 0; phase < 3; ++phase) world_.Work("w1");
    world_.worker("w2")->LeaveUnasked("a peer was lost");
    Turn("w2");
    SendAll("w1");
    EXPECT_EQ(Job("job1").committed_steps(), i);
    Turn("w1");
  }
  world_.Quiesce();
  ExpectFinished("job1");
}

TEST_F(GroupsLossesTest, AJobWhoseStateIsDroppedAgainAndAgainWithoutANewStepFails) {
  v1::CreateJobRequest request = ToyRequest("job1", 40, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(4);
  request.mutable_spec()->set_max_restarts(2);
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create(request).ok());
  RunToStep("job1", 5);
  for (int64_t generation = 1; generation <= 3; ++generation) {
    ASSERT_EQ(Job("job1").state(), v1::RUNNING);
    ASSERT_EQ(Job("job1").generation(), generation);
    ASSERT_EQ(Job("job1").committed_steps(), 5);
    // It stores the checkpoint of step 4 again and computes that step anew.
    for (int i = 0; i < 4 && generation > 1; ++i) Turn("w1");
    world_.worker("w1")->LoseState("its memory is gone");
    Turn("w1");
  }
  EXPECT_EQ(Job("job1").state(), v1::FAILED);
  EXPECT_THAT(Job("job1").error().message(),
              AllOf(HasSubstr("lost 3 times without a new step"), HasSubstr("its memory is gone")));
}

// The pauses are the patience of a job whose only worker has a bad network.
TEST_F(GroupsLossesTest, AnOnlyWorkerWhoseStreamBreaksIsTakenBackAfterLongerAndLongerPauses) {
  world_.AddWorker("w1");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 1).ok());
  const int64_t begin_ms = world_.now().monotonic_ms;
  for (int64_t i = 1; i < limits::kMaxFruitlessGenerations; ++i) {
    WaitForGeneration(i, limits::kRetryMaxMs + 1000);
    world_.CutStream("w1");
    world_.Dial("w1");
    Turn("w1");
  }
  EXPECT_GE(world_.now().monotonic_ms - begin_ms, 500'000);
  world_.RunUntilEnded("job1", limits::kRetryMaxMs + 1000);
  ExpectFinished("job1");
}

TEST_F(GroupsLossesTest, AWorkerThatIsAwayForAMomentMayStillDoTheJob) {
  world_.AddWorker("w1");
  world_.AddWorker("w2")->FailToPrepare("there are no pictures in /data");
  ASSERT_TRUE(world_.Create("job1", 30, 1, 2).ok());
  DeliverAll("w2");
  world_.Work("w2");
  world_.CutStream("w1");
  SendAll("w2");
  EXPECT_NE(Job("job1").state(), v1::FAILED) << Job("job1").error().message();
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_THAT(Job("job1").workers(), ElementsAre("workers/w1"));
}

}  // namespace
}  // namespace evograd
