// The ground of tests that tell a story of the whole service: a world (world.h) that must end with
// no promise broken.
#ifndef EVOGRAD_SERVER_CORE_TESTING_WORLD_TEST_H_
#define EVOGRAD_SERVER_CORE_TESTING_WORLD_TEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world.h"

namespace evograd::testing {

class WorldTest : public ::testing::Test {
 protected:
  ~WorldTest() override { EXPECT_THAT(world_.violations(), ::testing::IsEmpty()); }

  v1::Job Job(const std::string& id) { return world_.Get(id).value(); }

  // Until `id` has committed at least `steps` steps.
  void RunToStep(const std::string& id, int64_t steps) {
    for (int round = 0; Job(id).committed_steps() < steps; ++round) {
      ASSERT_LT(round, 10'000) << Job(id).ShortDebugString();
      std::vector<std::string> ids;
      for (const auto& [worker, unused] : world_.workers()) ids.push_back(worker);
      for (const std::string& worker : ids) {
        world_.DeliverToWorker(worker);
        world_.Work(worker);
        world_.DeliverToCoordinator(worker);
      }
    }
  }

  // The hyperparameters' checksums that an undisturbed run has.
  std::vector<uint64_t> ExpectedSteps(const v1::JobSpec& spec) {
    std::vector<uint64_t> checksums;
    HyperState state;
    for (int64_t step = 0; step < spec.steps(); ++step) {
      checksums.push_back(ComputeStep(spec, step, &state).state_checksum());
    }
    return checksums;
  }

  void ExpectFinished(const std::string& id) {
    const v1::Job job = Job(id);
    EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.ShortDebugString();
    EXPECT_EQ(job.committed_steps(), job.spec().steps());
    EXPECT_EQ(world_.disk().steps(job.uid()), ExpectedSteps(job.spec()));
  }

  World world_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_CORE_TESTING_WORLD_TEST_H_
