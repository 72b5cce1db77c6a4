// Goal: the coordinator's copy of the hyperparameters moves only by results that lead where their
// worker says, and goes on from disk. Method: results of the model worker, true and changed in one
// thing.

#include "server/core/hyper_track.h"

#include <limits>
#include <string>

#include "common/limits.h"
#include "gtest/gtest.h"
#include "server/core/testing/model_worker.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

class HyperTrackTest : public ::testing::Test {
 protected:
  HyperTrackTest() {
    spec_.mutable_problem()->mutable_toy1d();
    spec_.set_steps(100);
    EXPECT_TRUE(Resolve(&spec_).empty());
  }

  v1::StepResult Next() { return testing::ComputeStep(spec_, step_++, &state_); }

  v1::JobSpec spec_;
  HyperState state_;
  int64_t step_ = 0;
};

TEST_F(HyperTrackTest, FollowsTheWorkersAndGoesOnFromDisk) {
  HyperTrack track(spec_);
  for (int i = 0; i < 5; ++i) {
    const v1::StepResult result = Next();
    ASSERT_TRUE(track.Advance(result).ok());
    EXPECT_EQ(track.RecentChecksum(i), result.state_checksum());
  }
  EXPECT_EQ(track.steps(), 5);
  EXPECT_FALSE(track.RecentChecksum(5).has_value());
  EXPECT_FALSE(track.RecentChecksum(-1).has_value());

  HyperTrack restored(spec_);
  ASSERT_TRUE(restored.Decode(track.Encode()).ok());
  EXPECT_EQ(restored.steps(), 5);
  // Those of before the restart are on disk only.
  EXPECT_FALSE(restored.RecentChecksum(4).has_value());
  ASSERT_TRUE(restored.Advance(Next()).ok());
  EXPECT_TRUE(restored.RecentChecksum(5).has_value());
  EXPECT_EQ(HyperTrack(spec_).Decode(track.Encode().substr(1)).code(), absl::StatusCode::kDataLoss);
}

TEST_F(HyperTrackTest, WhatDoesNotFitChangesNothing) {
  HyperTrack track(spec_);
  ASSERT_TRUE(track.Advance(Next()).ok());
  const std::string before = track.Encode();
  const v1::StepResult good = Next();
  v1::StepResult bad = good;
  bad.set_state_checksum(good.state_checksum() + 1);
  EXPECT_EQ(track.Advance(bad).code(), absl::StatusCode::kDataLoss);
  bad = good;
  bad.set_hypergradient(0, good.hypergradient(0) + 1e-9);
  EXPECT_EQ(track.Advance(bad).code(), absl::StatusCode::kDataLoss);
  bad.set_hypergradient(0, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(track.Advance(bad).code(), absl::StatusCode::kOutOfRange);
  bad = good;
  bad.add_hypergradient(0);
  EXPECT_EQ(track.Advance(bad).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(track.Encode(), before);
  EXPECT_TRUE(track.Advance(good).ok());
}

}  // namespace
}  // namespace evograd
