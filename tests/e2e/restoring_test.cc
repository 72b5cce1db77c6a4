// Goal: when all workers come back at once, as after a power cut, all jobs restore and end with the
// result of an undisturbed run. Method: more jobs than the coordinator lets restore at a time, each
// on a worker of its own; every worker is killed, and as many new ones meet a disk on which each
// read of a checkpoint takes long, so that many restores wait for a slot.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

constexpr int kJobs = 24;
static_assert(kJobs > limits::kMaxRestores, "some must wait");

v1::JobSpec Spec() {
  v1::JobSpec spec;
  spec.mutable_problem()->mutable_toy1d();
  spec.mutable_meta_optimizer()->set_learning_rate(0.01);
  // Steps that take long, so that no job ends before the last has its checkpoint.
  spec.set_steps(100);
  spec.mutable_estimator()->set_population(200);
  spec.set_seed(7);
  spec.set_pipeline_depth(4);
  spec.set_max_workers(1);
  spec.set_checkpoint_interval_steps(10);
  return spec;
}

TEST(RestoringTest, AllWorkersComeBackAtOnce) {
  const v1::Job reference = RunUndisturbed(Spec());
  Cluster cluster;
  cluster.StartCoordinator(Env(
      {"LD_PRELOAD=tests/e2e/libslow_disk.so", "SLOW_PATH=/checkpoints/", "SLOW_READ_MS=1000"}));
  std::vector<std::string> jobs;
  for (int i = 0; i < kJobs; ++i) {
    cluster.StartWorker(absl::StrCat("before-", i));
    jobs.push_back(absl::StrCat("restored-", i));
  }
  cluster.WaitForFreeWorkers(kJobs);
  for (const std::string& job : jobs) cluster.Submit(job, reference.spec());
  for (const std::string& job : jobs) {
    cluster.WatchUntil(job, [](const v1::Event& event) { return event.has_checkpoint_written(); });
    const v1::Job begun = cluster.Get(job);
    ASSERT_EQ(begun.state(), v1::RUNNING) << begun.DebugString();
    cluster.KillWorker(begun.workers(0).substr(strlen("workers/")));
  }
  for (int i = 0; i < kJobs; ++i) cluster.StartWorker(absl::StrCat("after-", i));
  for (const std::string& job : jobs) {
    cluster.ExpectResultOf(reference, job);
    EXPECT_EQ(cluster.Get(job).restarts(), 1) << job;
  }
}

}  // namespace
}  // namespace evograd::e2e
