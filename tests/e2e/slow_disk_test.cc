// Goal: on a disk whose syncs take seconds a job goes on, ends with the result of an undisturbed
// run, and no worker is taken for lost. Method: a real coordinator with a library before the C
// library's that delays fsync and fdatasync, so that its store's commits and its checkpoints wait.
#include <gtest/gtest.h>

#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

TEST(SlowDiskTest, EachSyncTakesTwoSeconds) {
  v1::JobSpec spec = SmallRotation(40);
  spec.set_max_workers(2);
  // Few commits: each waits for the disk.
  spec.set_pipeline_depth(16);
  spec.set_checkpoint_interval_steps(20);
  const v1::Job reference = RunUndisturbed(spec);
  Cluster cluster;
  cluster.StartCoordinator(
      Env({"LD_PRELOAD=tests/e2e/libslow_disk.so", "SLOW_PATH=/data/", "SLOW_SYNC_MS=2000"}));
  cluster.StartWorker("w1");
  cluster.StartWorker("w2");
  cluster.WaitForFreeWorkers(2);
  cluster.Submit("slow", spec);
  cluster.ExpectResultOf(reference, "slow");
  const v1::Job job = cluster.Get("slow");
  EXPECT_EQ(job.generation(), 1) << job.DebugString();
  EXPECT_EQ(job.workers_size(), 2) << job.DebugString();
  cluster.WaitForFreeWorkers(2);
}

}  // namespace
}  // namespace evograd::e2e
