// Goal: a job's result does not depend on how many workers compute it or how far they run ahead.
// Method: one rotation job with 1, 2 and 4 real workers and pipeline depth 1 and 8; the SHA-256 of
// the parameters and of the hyperparameters must be one and the same. Its twin, another seed, must
// give others.
#include <gtest/gtest.h>

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

  v1::Job Run(const v1::JobSpec& spec) {
    cluster_.WaitForFreeWorkers(4);
    const std::string id = absl::StrCat("job-", ++jobs_);
    cluster_.Submit(id, spec);
    const v1::Job job = cluster_.WaitForEnd(id);
    EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
    EXPECT_EQ(job.parameters_sha256().size(), 64);
    EXPECT_EQ(job.hyperparameters_sha256().size(), 64);
    return job;
  }

  Cluster cluster_;
  int jobs_ = 0;
};

TEST_F(SameBitsTest, AnyNumberOfWorkersAndAnyDepth) {
  v1::JobSpec spec = SmallRotation(12);
  spec.set_min_workers(1);
  spec.set_max_workers(1);
  const v1::Job alone = Run(spec);
  for (const int depth : {1, 8}) {
    for (const int workers : {1, 2, 4}) {
      spec.set_pipeline_depth(depth);
      spec.set_min_workers(workers);
      spec.set_max_workers(workers);
      const v1::Job job = Run(spec);
      EXPECT_EQ(job.parameters_sha256(), alone.parameters_sha256()) << workers << " " << depth;
      EXPECT_EQ(job.hyperparameters_sha256(), alone.hyperparameters_sha256())
          << workers << " " << depth;
    }
  }
  spec.set_seed(spec.seed() + 1);
  const v1::Job other = Run(spec);
  EXPECT_NE(other.parameters_sha256(), alone.parameters_sha256());
  EXPECT_NE(other.hyperparameters_sha256(), alone.hyperparameters_sha256());
}

}  // namespace
}  // namespace evograd::e2e
