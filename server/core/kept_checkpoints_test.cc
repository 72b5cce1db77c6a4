// Goal: beside the last two checkpoints those stay that the job asked for, whatever is lost
// meanwhile. Method: jobs on a world (testing/world.h) whose workers' score is a known function of
// the step, so that the best one is known too.

#include "server/core/kept_checkpoints.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world_test.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Score;
using testing::ToyRequest;

constexpr int64_t kSteps = 40;
constexpr int64_t kInterval = 5;

class KeptCheckpointsTest : public testing::WorldTest {
 protected:
  v1::CreateJobRequest Request() {
    v1::CreateJobRequest request = ToyRequest("job1", kSteps, 1, 1);
    request.mutable_spec()->set_evaluation_interval_steps(kInterval);
    return request;
  }

  std::vector<v1::Checkpoint> List() {
    ListCheckpointsInput input{world_.NextCall(), {}};
    input.request.set_parent("jobs/job1");
    const auto page = std::get<v1::ListCheckpointsResponse>(*world_.Call(input));
    return {page.checkpoints().begin(), page.checkpoints().end()};
  }

  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    for (const v1::Checkpoint& checkpoint : List()) steps.push_back(checkpoint.step());
    return steps;
  }

  std::vector<int64_t> Best() {
    std::vector<int64_t> steps;
    for (const v1::Checkpoint& checkpoint : List()) {
      if (checkpoint.best()) steps.push_back(checkpoint.step());
    }
    return steps;
  }

  void RunSome() {
    std::vector<std::string> ids;
    for (const auto& [id, worker] : world_.workers()) ids.push_back(id);
    for (const std::string& id : ids) Turn(id);
  }

  // Of those that are evaluated after the start.
  int64_t Expected(const v1::JobSpec& spec, bool least) {
    int64_t best = kInterval;
    for (int64_t step = kInterval; step <= kSteps; step += kInterval) {
      const double gain = Score(spec, step) - Score(spec, best);
      if (least ? gain < 0 : gain > 0) best = step;
    }
    return best;
  }
};

class BestTest : public KeptCheckpointsTest, public ::testing::WithParamInterface<bool> {};

TEST_P(BestTest, Stays) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_keep_checkpoints()->set_best_metric("score");
  request.mutable_spec()->mutable_keep_checkpoints()->set_least(GetParam());
  ASSERT_TRUE(world_.Create(request).ok());
  world_.Quiesce();
  ExpectFinished("job1");
  const int64_t best = Expected(request.spec(), GetParam());
  // Else this shows nothing.
  ASSERT_LT(best, kSteps - kInterval);
  EXPECT_THAT(Steps(), ElementsAre(best, kSteps - kInterval, kSteps));
  EXPECT_THAT(Best(), ElementsAre(best));
  EXPECT_EQ(List()[0].evaluation().metrics().at("score"), Score(request.spec(), best));
  world_.RestartCoordinator();
  EXPECT_THAT(Best(), ElementsAre(best));
}

INSTANTIATE_TEST_SUITE_P(GreatestAndLeast, BestTest, ::testing::Bool());

TEST_F(KeptCheckpointsTest, TheBestStaysWhateverIsLost) {
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_keep_checkpoints()->set_best_metric("score");
  request.mutable_spec()->set_pipeline_depth(3);
  ASSERT_TRUE(world_.Create(request).ok());
  for (int64_t step = 3; step < kSteps; step += 6) {
    const std::string id = std::string("w") + std::to_string(step);
    world_.AddWorker(id);
    RunToStep("job1", step);
    if (step % 4 == 1) world_.RestartCoordinator();
    world_.Kill(id);
    world_.Pass(20'000);
  }
  world_.AddWorker("last");
  world_.RunUntilEnded("job1", 600'000);
  ExpectFinished("job1");
  const int64_t best = Expected(request.spec(), false);
  EXPECT_THAT(Best(), ElementsAre(best));
}

// What is lost while the checkpoint of a step that is to be kept is under way.
class LostMeanwhileTest : public KeptCheckpointsTest,
                          public ::testing::WithParamInterface<const char*> {
 protected:
  void Lose() {
    const std::string lost = GetParam();
    const std::string first = Job("job1").workers(0).substr(8);
    if (lost == "rank 0") {
      world_.Kill(first);
      world_.AddWorker(first + "a");
    } else if (lost == "the stream of rank 0") {
      world_.CutStream(first);
    } else if (lost == "all streams") {
      world_.RestartCoordinator();
    } else {
      std::vector<std::string> ids;
      for (const auto& [id, worker] : world_.workers()) ids.push_back(id);
      for (const std::string& id : ids) world_.Kill(id);
      for (const std::string& id : ids) world_.AddWorker(id + "a");
    }
    for (const auto& [id, worker] : world_.workers()) world_.Dial(id);
  }
};

TEST_P(LostMeanwhileTest, AllThatAreToBeKeptAre) {
  world_.AddWorker("w1");
  // It computes without waiting for others, so that it is ahead of rank 0.
  world_.AddWorker("w2");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->set_max_workers(2);
  request.mutable_spec()->set_pipeline_depth(3);
  request.mutable_spec()->mutable_keep_checkpoints()->set_best_metric("score");
  request.mutable_spec()->mutable_keep_checkpoints()->set_every_steps(kInterval);
  ASSERT_TRUE(world_.Create(request).ok());
  for (int64_t step = kInterval; step < kSteps; step += kInterval) {
    world_.HoldUploads(true);
    for (int64_t passed = 0; passed < 60'000; passed += 1000) {
      world_.Quiesce();
      world_.Pass(1000);
    }
    EXPECT_EQ(Job("job1").committed_steps(), step);
    Lose();
    world_.Quiesce();
    world_.HoldUploads(false);
    for (int64_t passed = 0; passed < 60'000 && Job("job1").committed_steps() <= step;
         passed += limits::kTickIntervalMs) {
      RunSome();
      world_.Pass(limits::kTickIntervalMs);
    }
  }
  world_.HoldUploads(false);
  world_.RunUntilEnded("job1", 600'000);
  ExpectFinished("job1");
  EXPECT_THAT(Steps(), ElementsAre(5, 10, 15, 20, 25, 30, 35, 40));
  EXPECT_THAT(Best(), ElementsAre(Expected(request.spec(), false)));
}

INSTANTIATE_TEST_SUITE_P(Lost, LostMeanwhileTest,
                         ::testing::Values("rank 0", "the stream of rank 0", "all streams",
                                           "all workers"));

TEST_F(KeptCheckpointsTest, WhereTheBestCannotBeStoredThatIsSaid) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_keep_checkpoints()->set_best_metric("score");
  ASSERT_TRUE(world_.Create(request).ok());
  const int64_t best = Expected(request.spec(), false);
  RunToStep("job1", best - 1);
  const int64_t second = Best().at(0);
  world_.RefuseUploads(true);
  RunToStep("job1", best + 1);
  world_.RefuseUploads(false);
  EXPECT_THAT(
      Notices("job1"),
      ElementsAre(AllOf(HasSubstr(absl::StrCat("the best evaluation so far, step ", best, " with")),
                        HasSubstr("has no checkpoint"),
                        HasSubstr(absl::StrCat("is kept is that of step ", second)))));
  // It was given up: what came of it is gone on with.
  world_.CutStream("w1");
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
  EXPECT_EQ(Notices("job1").size(), 1);
}

TEST_F(KeptCheckpointsTest, EachNthStays) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_keep_checkpoints()->set_every_steps(12);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  ASSERT_TRUE(world_.Create(request).ok());
  world_.Quiesce();
  EXPECT_THAT(Steps(), ElementsAre(12, 24, 36, 40));
  EXPECT_THAT(Best(), IsEmpty());
}

TEST_F(KeptCheckpointsTest, WhereTheBestIsDamagedTheNextBestTakesItsPlace) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_keep_checkpoints()->set_best_metric("score");
  request.mutable_spec()->mutable_keep_checkpoints()->set_every_steps(kInterval);
  const v1::Job job = world_.Create(request).value();
  world_.Quiesce();
  const int64_t best = Expected(request.spec(), false);
  ASSERT_THAT(Best(), ElementsAre(best));
  DamagedCheckpointInput damaged{world_.NextCall(), job.uid(), List()[best / kInterval - 1]};
  ASSERT_EQ(damaged.checkpoint.step(), best);
  ASSERT_TRUE(world_.Call(damaged).ok());
  ASSERT_EQ(Best().size(), 1);
  EXPECT_NE(Best()[0], best);
}

TEST_F(KeptCheckpointsTest, WhatWasStoredAndIsFoundDamagedCostsTheGroupNothing) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->set_pipeline_depth(3);
  request.mutable_spec()->mutable_keep_checkpoints()->set_every_steps(kInterval);
  const v1::Job job = world_.Create(request).value();
  RunToStep("job1", kInterval);
  while (List().empty()) RunSome();
  // Beyond the step, and not committed yet.
  ASSERT_EQ(Job("job1").committed_steps(), kInterval);
  ASSERT_TRUE(world_.Call(DamagedCheckpointInput{world_.NextCall(), job.uid(), List()[0]}).ok());
  world_.CutStream("w1");
  world_.Quiesce();
  world_.Dial("w1");
  world_.Quiesce();
  ExpectFinished("job1");
  EXPECT_EQ(Job("job1").restarts(), 0);
}

TEST_F(KeptCheckpointsTest, AMetricThatNoEvaluationHasFailsTheJobAtItsFirst) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_keep_checkpoints()->set_best_metric("scores");
  ASSERT_TRUE(world_.Create(request).ok());
  world_.Quiesce();
  const v1::Job job = Job("job1");
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.committed_steps(), 1);
  EXPECT_EQ(job.error().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(job.error().message(), HasSubstr("have no `scores`; they have score"));
}

}  // namespace
}  // namespace evograd
