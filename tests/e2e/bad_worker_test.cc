// Goal: a worker that has something wrong of its own costs a healthy job nothing but that worker:
// it is named, and the others end with the result of an undisturbed run. Method: real processes; a
// folder that is taken away, other instruction sets, an engine's thread stopped by ptrace while the
// rest of its process lives, evaluations longer than the collectives' time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/stopped_thread.h"

namespace evograd::e2e {
namespace {

constexpr int64_t kSteps = 120;
constexpr char kData[] = "/usr/share/datasets/fashion-mnist";

v1::JobSpec Spec() {
  v1::JobSpec spec = SmallRotation(kSteps);
  spec.set_max_workers(2);
  spec.set_checkpoint_interval_steps(10);
  return spec;
}

// An environment variable has another value, while this lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = getenv(name)) before_ = before;
    setenv(name, value, 1);
  }
  ~Variable() {
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }

 private:
  const char* const name_;
  absl::optional<std::string> before_;
};

class BadWorkerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { reference_ = new v1::Job(RunUndisturbed(Spec())); }
  static void TearDownTestSuite() { delete reference_; }

  void SetUp() override {
    cluster_.StartCoordinator();
    cluster_.StartWorker("w1");
    cluster_.WaitForFreeWorkers(1);
  }

  void ExpectReferenceResult(const v1::Job& job) {
    cluster_.ExpectResultOf(*reference_, job.name().substr(5));
  }

  static v1::Job* reference_;
  Cluster cluster_;
};

v1::Job* BadWorkerTest::reference_ = nullptr;

TEST_F(BadWorkerTest, ANewcomerWithoutTheDataDisturbsNobody) {
  const std::string folder = cluster_.PathOf("pictures");
  std::filesystem::create_directory_symlink(kData, folder);
  v1::JobSpec spec = Spec();
  spec.mutable_problem()->mutable_rotation()->set_data_dir(folder);
  // Endless beside what the test waits for.
  spec.set_steps(1'000'000);
  cluster_.Submit("healthy", spec);
  cluster_.WaitForStep("healthy", 5);
  std::filesystem::remove(folder);
  cluster_.StartWorker("w2");
  cluster_.WaitForWorker("w2", v1::FREE, "not used for jobs/healthy");
  EXPECT_TRUE(absl::StrContains(cluster_.Worker("w2").reason(), folder))
      << cluster_.Worker("w2").reason();
  const v1::Job job = cluster_.Get("healthy");
  EXPECT_EQ(job.state(), v1::RUNNING);
  EXPECT_EQ(job.generation(), 1);
  cluster_.WaitForStep("healthy", job.committed_steps() + 5);
  // The same data is there again: it joins.
  std::filesystem::create_directory_symlink(kData, folder);
  cluster_.WatchUntil("healthy", [](const v1::Event& event) {
    return event.generation_started().workers_size() == 2;
  });
}

TEST_F(BadWorkerTest, AnEngineThatStandsStillIsLeftBehindAndIsBusyUntilItMoves) {
  cluster_.StartWorker("w2");
  cluster_.WaitForFreeWorkers(2);
  v1::JobSpec spec = Spec();
  spec.set_collective_timeout_seconds(3);
  cluster_.Submit("hung", spec);
  cluster_.WaitForStep("hung", 20);
  {
    const StoppedThread engine(ThreadOf(cluster_.worker("w2").pid(), "engine"));
    ASSERT_TRUE(engine.stopped()) << std::strerror(errno);
    ExpectReferenceResult(cluster_.WaitForEnd("hung"));
    cluster_.WaitForWorker("w2", v1::BUSY, "was told to drop jobs/hung");
    // Nothing is given to it.
    cluster_.Submit("next", Spec());
    ExpectReferenceResult(cluster_.WaitForEnd("next"));
    EXPECT_EQ(cluster_.Get("next").workers_size(), 1);
    EXPECT_EQ(cluster_.Worker("w2").state(), v1::BUSY);
  }
  cluster_.WaitForWorker("w2", v1::FREE, "");
}

TEST_F(BadWorkerTest, AnOnlyWorkerThatStandsStillIsReplaced) {
  v1::JobSpec spec = Spec();
  spec.set_collective_timeout_seconds(3);
  cluster_.Submit("alone", spec);
  cluster_.WaitForStep("alone", 25);
  const StoppedThread engine(ThreadOf(cluster_.worker("w1").pid(), "engine"));
  ASSERT_TRUE(engine.stopped()) << std::strerror(errno);
  cluster_.WaitForWorker("w1", v1::BUSY, "was told to drop jobs/alone");
  EXPECT_TRUE(absl::StrContains(cluster_.Get("alone").reason(), "needs 1 CPU worker"))
      << cluster_.Get("alone").reason();
  cluster_.StartWorker("w2");
  ExpectReferenceResult(cluster_.WaitForEnd("alone"));
}

// Steps of no account, and one evaluation between them for which a core takes some milliseconds a
// picture.
v1::JobSpec LongEvaluation(int64_t pictures) {
  v1::JobSpec spec;
  v1::MetaWeightNet* problem = spec.mutable_problem()->mutable_meta_weight_net();
  problem->set_data_dir(kData);
  problem->set_model(v1::MetaWeightNet::RESNET);
  problem->set_train_examples(64);
  problem->set_meta_examples(10);
  problem->set_weight_examples(1);
  problem->set_batch_size(2);
  problem->set_validation_batch_size(2);
  problem->set_test_examples(pictures);
  spec.set_virtual_workers(2);
  spec.set_steps(3);
  spec.set_evaluation_interval_steps(2);
  spec.set_collective_timeout_seconds(1);
  spec.set_min_workers(2);
  spec.set_max_workers(2);
  return spec;
}

TEST_F(BadWorkerTest, AnEvaluationMayTakeLongerThanTheCollectivesTime) {
  cluster_.StartWorker("w2");
  constexpr int64_t kThreeTimes = 3;
  int64_t waited = 0;
  // How long one takes is the machine's to say.
  for (int64_t pictures = 500; waited < kThreeTimes && pictures <= 10'000; pictures *= 2) {
    cluster_.WaitForFreeWorkers(2);
    const std::string name = absl::StrCat("evaluating-", pictures);
    cluster_.Submit(name, LongEvaluation(pictures));
    EXPECT_TRUE(WaitUntil([&] {
      for (const char* id : {"w1", "w2"}) {
        const std::string reason = cluster_.Worker(id).reason();
        int64_t seconds = 0;
        if (std::sscanf(reason.c_str(), "step 2, waiting for others for %" SCNd64 " s", &seconds) ==
            1) {
          waited = std::max(waited, seconds);
        }
      }
      return cluster_.Get(name).has_end_time();
    }));
    const v1::Job job = cluster_.Get(name);
    EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
    EXPECT_EQ(job.generation(), 1);
    if (waited < kThreeTimes) continue;
    v1::JobSpec alone = LongEvaluation(pictures);
    alone.set_min_workers(1);
    alone.set_max_workers(1);
    cluster_.ExpectResultOf(RunUndisturbed(alone), name);
  }
  EXPECT_GE(waited, kThreeTimes) << "no evaluation was long enough to show anything";
}

// Kernels of other instruction sets give other bits: such a worker never takes part, and a job
// goes on only on those like the first.
TEST_F(BadWorkerTest, OtherInstructionSetsNeverMix) {
  cluster_.Submit("begun", Spec());
  cluster_.WaitForStep("begun", 20);
  {
    const Variable aten("ATEN_CPU_CAPABILITY", "default");
    const Variable onednn("ONEDNN_MAX_CPU_ISA", "SSE41");
    const Variable mkl("MKL_ENABLE_INSTRUCTIONS", "SSE4_2");
    cluster_.StartWorker("other");
  }
  cluster_.WaitForWorker("other", v1::FREE, "");
  if (cluster_.Worker("other").numerics() == cluster_.Worker("w1").numerics()) {
    // As it does where the whole test runs with that instruction set.
    GTEST_SKIP() << "this machine has no other instruction set";
  }
  cluster_.KillWorker("w1");
  cluster_.WatchUntil("begun", [](const v1::Event& event) {
    return event.state_changed().state() == v1::PENDING && event.sequence() > 3;
  });
  EXPECT_TRUE(absl::StrContains(cluster_.Get("begun").reason(), "1 other computes differently"))
      << cluster_.Get("begun").reason();
  cluster_.StartWorker("w3");
  const v1::Job job = cluster_.WaitForEnd("begun");
  ExpectReferenceResult(job);
  EXPECT_EQ(job.workers(0), "workers/w3");
}

}  // namespace
}  // namespace evograd::e2e
