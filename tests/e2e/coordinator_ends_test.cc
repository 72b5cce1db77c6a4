// Goal: however the coordinator ends, and whatever it does at that moment, a start on the same
// folder has lost nothing that was told, jobs end with the result of an undisturbed run, and an
// orderly end leaves the store in one file. Method: real processes; each way to end it in turn,
// while it has nothing to do, while a job computes and while a checkpoint is being stored (on a
// slow disk).
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

constexpr int64_t kSteps = 90;

struct End {
  const char* name;
  std::vector<int> signals;
  // See Process::Wait.
  int code;
};

const std::vector<End>& Ends() {
  static const auto* const ends =
      new std::vector<End>{{"SIGTERM", {SIGTERM}, 0},
                           {"SIGINT", {SIGINT}, 0},
                           {"SIGHUP", {SIGHUP}, 0},
                           {"SIGKILL", {SIGKILL}, 128 + SIGKILL},
                           {"SIGABRT", {SIGABRT}, 128 + SIGABRT},
                           {"SIGSEGV", {SIGSEGV}, 128 + SIGSEGV},
                           {"SIGKILL while stopped", {SIGSTOP, SIGKILL}, 128 + SIGKILL}};
  return *ends;
}

v1::JobSpec Spec() {
  v1::JobSpec spec = SmallRotation(kSteps);
  spec.set_max_workers(1);
  spec.set_pipeline_depth(4);
  return spec;
}

class CoordinatorEndsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    // Those that end by a defect's signal leave no memory image.
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    reference_ = new v1::Job(RunUndisturbed(Spec()));
  }
  static void TearDownTestSuite() { delete reference_; }

  // A round for each way to end it: `before` the end, start again, and `after` that.
  void ForEachEnd(const std::vector<std::string>& with, const std::function<void(int)>& before,
                  const std::function<void()>& after) {
    for (size_t i = 0; i < Ends().size(); ++i) {
      const End& end = Ends()[i];
      SCOPED_TRACE(end.name);
      before(static_cast<int>(i));
      if (HasFatalFailure()) return;
      for (const int signal : end.signals) cluster_.coordinator().Signal(signal);
      EXPECT_EQ(cluster_.coordinator().Wait(), end.code);
      if (end.code == 0) {
        for (const char* rest : {"data/store.sqlite-wal", "data/store.sqlite-shm"}) {
          EXPECT_FALSE(std::filesystem::exists(cluster_.PathOf(rest))) << rest;
        }
      }
      cluster_.StartCoordinator(with);
      after();
    }
  }

  int UnfinishedUploads() {
    int count = 0;
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator entry(cluster_.PathOf("data/checkpoints"),
                                                             error);
         !error && entry != std::filesystem::recursive_directory_iterator();
         entry.increment(error)) {
      count += absl::EndsWith(entry->path().string(), ".part");
    }
    return count;
  }

  static v1::Job* reference_;
  Cluster cluster_;
};

v1::Job* CoordinatorEndsTest::reference_ = nullptr;

TEST_F(CoordinatorEndsTest, WhileIdle) {
  cluster_.StartCoordinator();
  cluster_.StartWorker("w1");
  cluster_.WaitForFreeWorkers(1);
  cluster_.Submit("ended", Spec());
  cluster_.ExpectResultOf(*reference_, "ended");
  v1::JobSpec waiting = Spec();
  waiting.set_min_workers(2);
  waiting.set_max_workers(2);
  cluster_.Submit("waits", waiting);
  const std::string ended = cluster_.Get("ended").DebugString();
  ForEachEnd(
      {}, [&](int) { cluster_.WaitForFreeWorkers(1); },
      [&] {
        EXPECT_EQ(cluster_.Get("ended").DebugString(), ended);
        EXPECT_EQ(cluster_.Get("waits").state(), v1::PENDING);
      });
  cluster_.StartWorker("w2");
  cluster_.ExpectResultOf(*reference_, "waits");
}

TEST_F(CoordinatorEndsTest, WhileAJobComputes) {
  cluster_.StartCoordinator();
  cluster_.StartWorker("w1");
  cluster_.WaitForFreeWorkers(1);
  cluster_.Submit("running", Spec());
  int64_t told = 0;
  ForEachEnd(
      {},
      [&](int round) {
        told = (round + 1) * kSteps / (Ends().size() + 2);
        cluster_.WaitForStep("running", told);
      },
      [&] { EXPECT_GE(cluster_.Get("running").committed_steps(), told); });
  cluster_.ExpectResultOf(*reference_, "running");
  EXPECT_EQ(cluster_.Get("running").restarts(), 0);
}

TEST_F(CoordinatorEndsTest, WhileACheckpointIsBeingStored) {
  const std::vector<std::string> slow_disk =
      Env({"LD_PRELOAD=tests/e2e/libslow_disk.so", "SLOW_PATH=/checkpoints/", "SLOW_SYNC_MS=4000"});
  cluster_.StartCoordinator(slow_disk);
  cluster_.StartWorker("w1");
  cluster_.WaitForFreeWorkers(1);
  v1::JobSpec spec = Spec();
  spec.set_checkpoint_interval_steps(1);
  cluster_.Submit("storing", spec);
  int64_t told = 0;
  ForEachEnd(
      slow_disk,
      [&](int) {
        ASSERT_TRUE(WaitUntil([&] { return UnfinishedUploads() > 0; }));
        told = cluster_.Get("storing").committed_steps();
      },
      [&] { EXPECT_GE(cluster_.Get("storing").committed_steps(), told); });
  cluster_.EndCoordinator(SIGKILL);
  cluster_.StartCoordinator();
  cluster_.ExpectResultOf(*reference_, "storing");
  EXPECT_EQ(UnfinishedUploads(), 0);
}

}  // namespace
}  // namespace evograd::e2e
