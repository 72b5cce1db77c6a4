// Goal: a worker that comes back with an old state, when the job is far beyond it, changes nothing.
// Method: real processes; the only worker is stopped, another one goes on from a checkpoint and is
// killed when it has newer ones, and at that moment the first one is let go on: it holds the only
// state that is in memory anywhere, and the job must go on from the newest checkpoint.
#include <gtest/gtest.h>

#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

constexpr int64_t kSteps = 200;

TEST(StaleHolderTest, AnOldStateDoesNotBeatANewerCheckpoint) {
  v1::JobSpec spec = SmallRotation(kSteps);
  spec.set_max_workers(1);
  spec.set_checkpoint_interval_steps(5);
  const v1::Job reference = RunUndisturbed(spec);
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorker("old");
  cluster.WaitForFreeWorkers(1);
  cluster.Submit("stale", spec);
  cluster.WatchUntil("stale",
                     [](const v1::Event& event) { return event.has_checkpoint_written(); });
  cluster.worker("old").Signal(SIGSTOP);
  const int64_t stopped_at = cluster.Get("stale").committed_steps();

  cluster.StartWorker("new");
  int64_t stored = 0;
  cluster.WatchUntil("stale", [&](const v1::Event& event) {
    if (event.has_checkpoint_written()) stored = event.checkpoint_written().step();
    return stored > stopped_at + 20;
  });
  cluster.KillWorker("new");
  cluster.worker("old").Signal(SIGCONT);
  ASSERT_LT(cluster.Get("stale").committed_steps(), kSteps) << "it ended too soon to show anything";

  cluster.ExpectResultOf(reference, "stale");
  const v1::Job job = cluster.Get("stale");
  EXPECT_EQ(job.workers(0), "workers/old");
  EXPECT_GE(job.restarts(), 2) << job.DebugString();
  // No group began from less than what was stored by then.
  int64_t newest = 0;
  for (const v1::Event& event : cluster.AllEvents("stale")) {
    if (event.has_checkpoint_written()) newest = event.checkpoint_written().step();
    if (event.has_generation_started()) {
      EXPECT_GE(event.generation_started().step(), newest) << event.DebugString();
    }
  }
}

}  // namespace
}  // namespace evograd::e2e
