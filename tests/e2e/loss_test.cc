// Goal: whatever is killed or paused, a job ends with the result of the undisturbed run, each step
// in the log once. Method: real processes; SIGKILL and SIGSTOP at steps drawn from a fixed seed;
// the hashes, the metrics of every step and the evaluations of an undisturbed run by one worker as
// the reference.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

constexpr int64_t kSteps = 60;

v1::JobSpec Spec() {
  v1::JobSpec spec = SmallRotation(kSteps);
  spec.set_max_workers(2);
  spec.set_pipeline_depth(4);
  spec.set_checkpoint_interval_steps(10);
  spec.set_evaluation_interval_steps(20);
  return spec;
}

class LossTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Cluster cluster;
    cluster.StartCoordinator();
    cluster.StartWorker("w1");
    cluster.WaitForFreeWorkers(1);
    cluster.Submit("undisturbed", Spec());
    reference_ = new v1::Job(cluster.WaitForEnd("undisturbed"));
    EXPECT_EQ(reference_->state(), v1::SUCCEEDED) << reference_->DebugString();
    EXPECT_EQ(reference_->recoveries() + reference_->restarts(), 0);
    reference_series_ =
        new std::vector<std::string>(MetricSeries(cluster.AllEvents("undisturbed")));
  }
  static void TearDownTestSuite() {
    delete reference_;
    delete reference_series_;
  }

  void SetUp() override {
    cluster_.StartCoordinator();
    cluster_.StartWorker("w1");
    cluster_.StartWorker("w2");
    cluster_.WaitForFreeWorkers(2);
  }

  void ExpectSameResult(const std::string& id) {
    const std::vector<v1::Event> events = cluster_.AllEvents(id);
    const v1::Job job = cluster_.Get(id);
    EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
    EXPECT_EQ(job.parameters_sha256(), reference_->parameters_sha256());
    EXPECT_EQ(job.hyperparameters_sha256(), reference_->hyperparameters_sha256());
    EXPECT_EQ(CommittedSteps(events), StepsUpTo(kSteps));
    EXPECT_EQ(MetricSeries(events), *reference_series_);
  }

  // By one worker alone.
  static v1::Job* reference_;
  static std::vector<std::string>* reference_series_;
  Cluster cluster_;
};

v1::Job* LossTest::reference_ = nullptr;
std::vector<std::string>* LossTest::reference_series_ = nullptr;

// Until the job's present generation has committed so many steps.
void WaitForStepsOfGeneration(Cluster* cluster, const std::string& id, int64_t generation,
                              int64_t count) {
  int64_t seen = 0;
  cluster->WatchUntil(id, [&](const v1::Event& event) {
    const v1::StepsCommitted& steps = event.steps_committed();
    if (steps.generation() == generation) seen += steps.steps_size();
    return seen >= count;
  });
}

TEST_F(LossTest, WorkerKilledTwentyTimes) {
  constexpr int kSeed = 20261123;
  constexpr int kJobs = 5;
  constexpr int kKillsPerJob = 4;
  std::mt19937 random(kSeed);
  int next_worker = 3;
  // Two spare ones: a group that needs two forms again at once.
  for (; next_worker <= 4; ++next_worker) cluster_.StartWorker(absl::StrCat("w", next_worker));
  for (int job = 0; job < kJobs; ++job) {
    const std::string id = absl::StrCat("killed-", job);
    cluster_.WaitForFreeWorkers(4);
    v1::JobSpec spec = Spec();
    spec.set_min_workers(2);
    cluster_.Submit(id, spec);
    for (int64_t generation = 1; generation <= kKillsPerJob; ++generation) {
      WaitForStepsOfGeneration(&cluster_, id, generation, 1 + random() % 9);
      const v1::Job running = cluster_.Get(id);
      ASSERT_EQ(running.generation(), generation);
      ASSERT_EQ(running.workers_size(), 2) << running.DebugString();
      cluster_.KillWorker(running.workers(random() % 2).substr(strlen("workers/")));
      cluster_.StartWorker(absl::StrCat("w", next_worker++));
    }
    ExpectSameResult(id);
    EXPECT_EQ(cluster_.Get(id).recoveries(), kKillsPerJob);
    EXPECT_EQ(cluster_.Get(id).restarts(), 0);
  }
  std::printf(
      "{\"name\": \"workers killed\", \"seed\": %d, \"jobs\": %d, \"kills\": %d, "
      "\"jobs with another result\": %s}\n",
      kSeed, kJobs, kJobs * kKillsPerJob, HasFailure() ? "\"see above\"" : "0");
}

TEST_F(LossTest, CoordinatorKilledAndBack) {
  std::mt19937 random(11);
  cluster_.Submit("orphaned", Spec());
  for (int kill = 0; kill < 3; ++kill) {
    cluster_.WaitForStep("orphaned", 1 + kill * kSteps / 3 + random() % (kSteps / 3 - 2));
    cluster_.KillCoordinator();
    cluster_.StartCoordinator();
  }
  ExpectSameResult("orphaned");
  EXPECT_EQ(cluster_.Get("orphaned").restarts(), 0);
}

TEST_F(LossTest, AllWorkersKilledGoesOnFromTheCheckpoint) {
  cluster_.Submit("lost", Spec());
  cluster_.WaitForStep("lost", 35);
  cluster_.KillWorker("w1");
  cluster_.KillWorker("w2");
  cluster_.StartWorker("w3");
  cluster_.StartWorker("w4");
  ExpectSameResult("lost");
  EXPECT_EQ(cluster_.Get("lost").restarts(), 1);
  int64_t from_step = -1;
  for (const v1::Event& event : cluster_.AllEvents("lost")) {
    if (event.has_restarted()) from_step = event.restarted().from_step();
  }
  EXPECT_GE(from_step, 10);
}

TEST_F(LossTest, EverythingKilledAtOnce) {
  cluster_.Submit("everything", Spec());
  cluster_.WaitForStep("everything", 25);
  cluster_.KillCoordinator();
  cluster_.KillWorker("w1");
  cluster_.KillWorker("w2");
  cluster_.StartCoordinator();
  EXPECT_GE(cluster_.Get("everything").committed_steps(), 25) << "what was told is durable";
  cluster_.StartWorker("w3");
  ExpectSameResult("everything");
  EXPECT_EQ(cluster_.Get("everything").restarts(), 1);
}

TEST_F(LossTest, PausedWorkerIsLeftBehindAndDoesNoHarmWhenItComesBack) {
  cluster_.Submit("paused", Spec());
  cluster_.WaitForStep("paused", 10);
  cluster_.worker("w2").Signal(SIGSTOP);
  ExpectSameResult("paused");
  EXPECT_GE(cluster_.Get("paused").recoveries(), 1);
  cluster_.worker("w2").Signal(SIGCONT);
  cluster_.WaitForFreeWorkers(2);
}

}  // namespace
}  // namespace evograd::e2e
