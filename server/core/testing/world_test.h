// The ground of tests that tell a story of the whole service: a world (world.h) that must end with
// no promise broken.
#ifndef EVOGRAD_SERVER_CORE_TESTING_WORLD_TEST_H_
#define EVOGRAD_SERVER_CORE_TESTING_WORLD_TEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/service_limits.h"
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

  v1::Worker Worker(const std::string& id) {
    ListWorkersInput input{world_.NextCall(), {}};
    const absl::StatusOr<Answer> answer = world_.Call(input);
    for (const v1::Worker& worker : std::get<v1::ListWorkersResponse>(*answer).workers()) {
      if (worker.name() == "workers/" + id) return worker;
    }
    return v1::Worker();
  }

  std::vector<std::string> Notices(const std::string& id) {
    std::vector<std::string> notices;
    for (const v1::Event& event : world_.disk().events(Job(id).uid())) {
      if (event.has_notice()) notices.push_back(event.notice().text());
    }
    return notices;
  }

  // The steps that the job went back to.
  std::vector<int64_t> RestartedFrom(const std::string& id) {
    std::vector<int64_t> steps;
    for (const v1::Event& event : world_.disk().events(Job(id).uid())) {
      if (event.has_restarted()) steps.push_back(event.restarted().from_step());
    }
    return steps;
  }

  void Beat(const std::string& id, const std::string& doing, double doing_seconds,
            double still_seconds, bool waiting) {
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_doing(doing);
    message.mutable_heartbeat()->set_doing_seconds(doing_seconds);
    message.mutable_heartbeat()->set_still_seconds(still_seconds);
    message.mutable_heartbeat()->set_waiting(waiting);
    world_.Inject(id, message);
  }

  void DeliverAll(const std::string& id) {
    while (world_.DeliverToWorker(id)) {
    }
  }

  void SendAll(const std::string& id) {
    while (world_.DeliverToCoordinator(id)) {
    }
  }

  // It hears what there is, does one thing and says what it has to.
  void Turn(const std::string& id) {
    DeliverAll(id);
    world_.Work(id);
    SendAll(id);
  }

  // Until job1 is in that generation.
  void WaitForGeneration(int64_t generation, int64_t limit_ms) {
    for (int64_t passed = 0; Job("job1").generation() < generation && passed < limit_ms;
         passed += limits::kTickIntervalMs) {
      world_.Pass(limits::kTickIntervalMs);
    }
    ASSERT_EQ(Job("job1").generation(), generation) << Job("job1").ShortDebugString();
  }

  // Until the newcomers' time to read data has come and they did.
  void LetNewcomersPrepare() {
    world_.Pass(limits::kGrowthDelayMs + limits::kTickIntervalMs);
    for (const auto& [id, worker] : world_.workers()) {
      DeliverAll(id);
      if (!worker->holds_job()) world_.Work(id);
      SendAll(id);
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
