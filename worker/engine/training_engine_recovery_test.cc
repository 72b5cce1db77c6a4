// Goal: nothing that ends a group, saves a state or brings in a newcomer changes any result.
// Method: the digest of an undisturbed run is compared with runs in which one rank's communicator
// breaks at the n-th collective, for n = 1, 2, 3, … until a run passes; the survivors then go on in
// another group, as the agent would do it: the most advanced one is the donor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/engine/testing/engine_rig.h"

namespace evograd {
namespace {

using testing::HasSubstr;
constexpr int kSteps = 2;

// Ends itself and its group before its n-th collective; never for n = 0.
class BreakingCommunicator : public Communicator {
 public:
  BreakingCommunicator(std::unique_ptr<InProcessCommunicator> inner, int break_at)
      : inner_(std::move(inner)), left_(break_at) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Memory memory() const override { return inner_->memory(); }
  absl::Status AllGather(const void* send, void* receive, size_t bytes) override {
    Count();
    return inner_->AllGather(send, receive, bytes);
  }
  absl::Status AllToAll(const void* send, void* receive, size_t bytes) override {
    Count();
    return inner_->AllToAll(send, receive, bytes);
  }
  absl::Status Broadcast(void* data, size_t bytes, int root) override {
    Count();
    return inner_->Broadcast(data, bytes, root);
  }
  void Abort() override { inner_->Abort(); }

  bool broke() const { return broke_; }

 private:
  void Count() {
    if (left_ == 0 || --left_ > 0) return;
    broke_ = true;
    inner_->Kill();
  }

  const std::unique_ptr<InProcessCommunicator> inner_;
  int left_;
  bool broke_ = false;
};

absl::Status RunTo(TrainingEngine& engine, Communicator& communicator, int steps) {
  while (engine.completed_steps() < steps) {
    EVOGRAD_RETURN_IF_ERROR(engine.RunStep(communicator));
  }
  return absl::OkStatus();
}

// Steps of a group whose rank `breaking` breaks at collective `break_at`; whether it did.
bool RunUntilBroken(const Engines& engines, int breaking, int break_at) {
  std::vector<std::unique_ptr<Communicator>> group;
  BreakingCommunicator* breaker = nullptr;
  for (auto& inner : InProcessCommunicator::CreateGroup(engines.size(), absl::Seconds(30))) {
    const int rank = inner->rank();
    auto one =
        std::make_unique<BreakingCommunicator>(std::move(inner), rank == breaking ? break_at : 0);
    if (rank == breaking) breaker = one.get();
    group.push_back(std::move(one));
  }
  const auto statuses = RunGroup(group, [&](int rank, Communicator& communicator) {
    const absl::Status status = RunTo(*engines[rank], communicator, kSteps);
    if (!status.ok()) communicator.Abort();
    return status;
  });
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    if (statuses[rank].ok()) continue;
    EXPECT_TRUE(breaker->broke()) << statuses[rank];
    EXPECT_TRUE(absl::IsAborted(statuses[rank]) || absl::IsUnavailable(statuses[rank]))
        << statuses[rank];
  }
  return breaker->broke();
}

// The survivors and a newcomer, the most advanced first, bring each other up to date and go on.
std::string GoOn(const v1::JobSpec& spec, Engines survivors) {
  std::stable_sort(survivors.begin(), survivors.end(),
                   [](const auto& a, const auto& b) { return a->phases() > b->phases(); });
  survivors.push_back(MakeRigEngine(spec));
  const auto statuses = RunGroup(
      InProcessGroup(survivors.size()), [&](int rank, Communicator& communicator) -> absl::Status {
        EVOGRAD_RETURN_IF_ERROR(survivors[rank]->Synchronise(communicator));
        return RunTo(*survivors[rank], communicator, kSteps);
      });
  for (size_t rank = 0; rank < survivors.size(); ++rank) {
    EXPECT_TRUE(statuses[rank].ok()) << statuses[rank];
  }
  return CommonDigest(survivors);
}

class RecoveryTest : public testing::TestWithParam<const char*> {};

TEST_P(RecoveryTest, ABreakAtAnyCollectiveChangesNothing) {
  const v1::JobSpec spec = RigSpec(GetParam());
  const std::string undisturbed = RunAndDigest(spec, 1, kSteps);
  int breaks = 0;
  for (const int breaking : {0, 1}) {
    for (int break_at = 1;; ++break_at) {
      Engines engines;
      for (int rank = 0; rank < 3; ++rank) {
        engines.push_back(MakeRigEngine(spec));
        ASSERT_TRUE(engines.back()->Initialise().ok());
      }
      if (!RunUntilBroken(engines, breaking, break_at)) break;
      ++breaks;
      engines.erase(engines.begin() + breaking);
      EXPECT_EQ(GoOn(spec, std::move(engines)), undisturbed)
          << "rank " << breaking << ", collective " << break_at;
    }
  }
  EXPECT_GE(breaks, 2 * kSteps * 2) << "every step has collectives to break";
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, RecoveryTest,
    testing::Values("virtual_workers: 1 estimator { population: 3 }",
                    "virtual_workers: 1 checkpoint_interval_steps: 1",
                    "virtual_workers: 4 step_order: BASE_FIRST evaluation_interval_steps: 1",
                    "virtual_workers: 2 step_order: HYPER_FIRST estimator { kind: T1T2 }",
                    "virtual_workers: 2 estimator { kind: EVOGRAD_SHARED population: 3 }"));

// A state between the two phases of step 1: the second phase's collective is broken.
std::unique_ptr<TrainingEngine> BetweenPhases(const v1::JobSpec& spec) {
  for (int break_at = 1;; ++break_at) {
    Engines engines;
    for (int rank = 0; rank < 2; ++rank) {
      engines.push_back(MakeRigEngine(spec));
      EXPECT_TRUE(engines.back()->Initialise().ok());
    }
    EXPECT_TRUE(RunUntilBroken(engines, 1, break_at)) << "no state between phases was met";
    if (engines[0]->phases() == 3) return std::move(engines[0]);
    if (engines[0]->phases() == 2 * kSteps) return nullptr;
  }
}

TEST(RestoreTest, ASavedStateGoesOnAsIfNothingHadHappened) {
  for (const char* order : {"BASE_FIRST", "HYPER_FIRST"}) {
    const v1::JobSpec spec = RigSpec(absl::StrCat("virtual_workers: 2 step_order: ", order));
    const auto engine = BetweenPhases(spec);
    ASSERT_NE(engine, nullptr);
    const auto saved = engine->Serialise();
    ASSERT_TRUE(saved.ok());
    const auto fresh = MakeRigEngine(spec);
    ASSERT_TRUE(fresh->Restore(*saved).ok());
    EXPECT_EQ(Digest(*fresh), Digest(*engine));
    EXPECT_EQ(*fresh->Serialise(), *saved);
    const auto group = InProcessGroup(1);
    ASSERT_TRUE(RunTo(*fresh, *group[0], kSteps).ok());
    EXPECT_EQ(Digest(*fresh), RunAndDigest(spec, 1, kSteps));
  }
}

TEST(RestoreTest, WhatDoesNotFitIsRefusedAndChangesNothing) {
  const v1::JobSpec spec = RigSpec("");
  const auto engine = MakeRigEngine(spec);
  ASSERT_TRUE(engine->Initialise().ok());
  const std::string saved = *engine->Serialise();
  const std::string before = Digest(*engine);

  EXPECT_TRUE(engine->Restore(saved).ok());
  std::string flipped = saved;
  flipped[saved.size() / 2] ^= 4;
  EXPECT_EQ(engine->Restore(flipped).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(engine->Restore(saved.substr(0, saved.size() / 2)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(engine->Restore("").code(), absl::StatusCode::kDataLoss);

  const auto other_job = MakeRigEngine(spec, {}, "another uid");
  ASSERT_TRUE(other_job->Initialise().ok());
  const absl::Status other = engine->Restore(*other_job->Serialise());
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.message()), HasSubstr("another uid"));

  const auto other_type = MakeRigEngine(RigSpec("data_type: FLOAT32"));
  ASSERT_TRUE(other_type->Initialise().ok());
  EXPECT_EQ(engine->Restore(*other_type->Serialise()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Digest(*engine), before);
}

// The file was written by a program of version 2: three steps of this job, of which the first was
// acknowledged.
TEST(RestoreTest, AStateOfTheVersionBeforeIsTakenUp) {
  std::ifstream file("worker/engine/testing/checkpoint_v2.safetensors", std::ios::binary);
  const std::string saved(std::istreambuf_iterator<char>(file), {});
  ASSERT_GT(saved.size(), 1000u);
  const auto engine = MakeRigEngine(RigSpec(""));
  const absl::Status status = engine->Restore(saved);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(engine->phases(), 6);
  EXPECT_EQ(engine->fingerprint().parameters_sha256,
            "522223c5fb8d189416f931b779e9b10289e18800089e8aff56916e600854a6ba");
  EXPECT_EQ(engine->fingerprint().hyperparameters_sha256,
            "0b2453abe1072d185a362a55bdf245a00a451e053925c0b8a9e7e916136a85e5");
  ASSERT_EQ(engine->pending().size(), 2u);
  EXPECT_EQ(engine->pending()[0].step(), 1);
  EXPECT_EQ(engine->pending()[1].state_checksum(), Checksum(engine->hyper()));
  // It goes on, and what it writes is of this version.
  const auto group = InProcessGroup(1);
  ASSERT_TRUE(RunTo(*engine, *group[0], 4).ok());
  const auto fresh = MakeRigEngine(RigSpec(""));
  const std::string again = *engine->Serialise();
  ASSERT_TRUE(fresh->Restore(again).ok());
  EXPECT_EQ(Digest(*fresh), Digest(*engine));
  std::string flipped = saved;
  flipped[saved.size() / 2] ^= 4;
  EXPECT_EQ(fresh->Restore(flipped).code(), absl::StatusCode::kDataLoss);
}

TEST(SynchroniseTest, ALostDonorLeavesTheReceiverAsItWas) {
  const v1::JobSpec spec = RigSpec("");
  for (int break_at = 1;; ++break_at) {
    Engines engines;
    for (int rank = 0; rank < 2; ++rank) {
      engines.push_back(MakeRigEngine(spec));
      ASSERT_TRUE(engines.back()->Initialise().ok());
    }
    const auto alone = InProcessGroup(1);
    ASSERT_TRUE(engines[0]->RunStep(*alone[0]).ok());
    const std::string before = Digest(*engines[1]);
    auto inner = InProcessCommunicator::CreateGroup(2, absl::Seconds(30));
    std::vector<std::unique_ptr<Communicator>> group;
    group.push_back(std::make_unique<BreakingCommunicator>(std::move(inner[0]), break_at));
    group.push_back(std::move(inner[1]));
    const auto statuses = RunGroup(group, [&](int rank, Communicator& communicator) {
      return engines[rank]->Synchronise(communicator);
    });
    if (statuses[0].ok()) {
      EXPECT_GT(break_at, 4) << "theta, buffers, slots and the rest are sent";
      EXPECT_EQ(Digest(*engines[1]), Digest(*engines[0]));
      break;
    }
    EXPECT_FALSE(statuses[1].ok());
    EXPECT_EQ(Digest(*engines[1]), before) << break_at;
  }
}

}  // namespace
}  // namespace evograd
