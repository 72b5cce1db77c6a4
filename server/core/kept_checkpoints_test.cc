// Goal: beside the last two checkpoints those stay that the job asked for, whatever is lost
// meanwhile. Method: jobs on a world (testing/world.h) whose workers' score is a known function of
// the step, so that the best one is known too.

#include "server/core/kept_checkpoints.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world_test.h"

namespace evograd {
namespace {

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
