// Goal: a job's result and its whole course do not depend on how many workers compute it, how far
// they run ahead, or who dies meanwhile. Method: one rotation job with 1 to 4 real workers and
// pipeline depth 1 and 8, and with one of two killed; the SHA-256 of the parameters and of the
// hyperparameters, the metrics of every step and every evaluation must be the same. Their twin,
// another seed, must give others.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

class SameBitsTest : public testing::Test {
 protected:
  void SetUp() override {
    cluster_.StartCoordinator();
    for (int i = 1; i <= 4; ++i) cluster_.StartWorker(absl::StrCat("w", i));
  }

  struct Outcome {
    v1::Job job;
    std::vector<std::string> series;
  };

  Outcome End(const std::string& id) {
    const Outcome outcome{cluster_.WaitForEnd(id), MetricSeries(cluster_.AllEvents(id))};
    EXPECT_EQ(outcome.job.state(), v1::SUCCEEDED) << outcome.job.DebugString();
    EXPECT_EQ(outcome.job.parameters_sha256().size(), 64);
    EXPECT_EQ(outcome.job.hyperparameters_sha256().size(), 64);
    return outcome;
  }

  std::string Submit(const v1::JobSpec& spec) {
    cluster_.WaitForFreeWorkers(4);
    const std::string id = absl::StrCat("job-", ++jobs_);
    cluster_.Submit(id, spec);
    return id;
  }

  static void ExpectSame(const Outcome& outcome, const Outcome& expected) {
    EXPECT_EQ(outcome.job.parameters_sha256(), expected.job.parameters_sha256());
    EXPECT_EQ(outcome.job.hyperparameters_sha256(), expected.job.hyperparameters_sha256());
    EXPECT_EQ(outcome.series, expected.series);
  }

  Cluster cluster_;
  int jobs_ = 0;
};

v1::JobSpec Spec(int64_t steps, int min_workers, int max_workers) {
  v1::JobSpec spec = SmallRotation(steps);
  spec.set_evaluation_interval_steps(5);
  spec.set_min_workers(min_workers);
  spec.set_max_workers(max_workers);
  return spec;
}

TEST_F(SameBitsTest, AnyNumberOfWorkersAndAnyDepth) {
  constexpr int kSteps = 12;
  const Outcome alone = End(Submit(Spec(kSteps, 1, 1)));
  // Evaluations are those before steps 5 and 10, perhaps before 0, and at the end.
  EXPECT_GE(alone.series.size(), kSteps + 3);
  for (const int depth : {1, 8}) {
    for (const int workers : {1, 2, 3, 4}) {
      SCOPED_TRACE(absl::StrCat(workers, " workers, depth ", depth));
      v1::JobSpec spec = Spec(kSteps, workers, workers);
      spec.set_pipeline_depth(depth);
      ExpectSame(End(Submit(spec)), alone);
    }
  }
  v1::JobSpec spec = Spec(kSteps, 1, 1);
  spec.set_seed(spec.seed() + 1);
  const Outcome other = End(Submit(spec));
  EXPECT_NE(other.job.parameters_sha256(), alone.job.parameters_sha256());
  EXPECT_NE(other.job.hyperparameters_sha256(), alone.job.hyperparameters_sha256());
  EXPECT_EQ(other.series.size(), alone.series.size());
  EXPECT_NE(other.series, alone.series);
}

TEST_F(SameBitsTest, AKilledWorkerChangesNoFigure) {
  constexpr int kSteps = 60;
  const Outcome alone = End(Submit(Spec(kSteps, 1, 1)));
  v1::JobSpec spec = Spec(kSteps, 2, 2);
  spec.set_pipeline_depth(4);
  const std::string id = Submit(spec);
  cluster_.WaitForStep(id, 12);
  cluster_.KillWorker(cluster_.Get(id).workers(0).substr(strlen("workers/")));
  const Outcome disturbed = End(id);
  EXPECT_EQ(disturbed.job.recoveries(), 1);
  ExpectSame(disturbed, alone);
}

}  // namespace
}  // namespace evograd::e2e
