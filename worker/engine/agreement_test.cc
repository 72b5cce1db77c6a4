// Goal: ranks that hold different parameters are noticed, soon, before a checkpoint and at the end,
// and comparing changes nothing. Method: groups of in-process ranks on the conv problem; a bit of
// one rank's theta is flipped, as faulty memory would.
#include "worker/engine/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/engine/testing/engine_rig.h"

namespace evograd {
namespace {

using testing::HasSubstr;

// Flips one bit of a rank's theta after `at` steps and goes on until the group ends; its statuses,
// and how many steps rank 0 had made by then.
std::pair<std::vector<absl::Status>, int64_t> RunWithFlip(const v1::JobSpec& spec, int ranks,
                                                          int flipped, int64_t at, int64_t steps) {
  Engines engines;
  for (int rank = 0; rank < ranks; ++rank) engines.push_back(MakeRigEngine(spec));
  auto statuses =
      RunGroup(InProcessGroup(ranks), [&](int rank, Communicator& communicator) -> absl::Status {
        EVOGRAD_RETURN_IF_ERROR(engines[rank]->Initialise());
        while (engines[rank]->completed_steps() < steps) {
          if (rank == flipped && engines[rank]->completed_steps() == at) {
            auto* bits =
                static_cast<uint8_t*>(engines[rank]->parts().state->base.mutable_data_ptr());
            bits[12] ^= 1;  // of the second element
          }
          EVOGRAD_RETURN_IF_ERROR(engines[rank]->RunStep(communicator));
        }
        return absl::OkStatus();
      });
  return {std::move(statuses), engines[0]->completed_steps()};
}

TEST(AgreementTest, ARankWithOtherParametersIsNoticedWithinTheInterval) {
  constexpr int64_t kInterval = TrainingEngine::kAgreementSteps;
  // Two ranks cannot say which of them is right.
  const auto [two, steps] = RunWithFlip(RigSpec(""), 2, 1, 3, 2 * kInterval);
  EXPECT_EQ(steps, kInterval);
  for (const absl::Status& status : two) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("after step ", kInterval, " the 2 ranks hold different")));
  }
  const auto [three, later] = RunWithFlip(RigSpec(""), 3, 2, kInterval + 1, 3 * kInterval);
  EXPECT_EQ(later, 2 * kInterval);
  for (const absl::Status& status : three) {
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 2 holds other parameters"));
  }
  const auto undisturbed = RunWithFlip(RigSpec(""), 2, -1, 0, kInterval + 1).first;
  for (const absl::Status& status : undisturbed) EXPECT_TRUE(status.ok()) << status;
}

TEST(AgreementTest, NoCheckpointAndNoResultIsMadeOfDifferentParameters) {
  const auto [checkpoint, steps] =
      RunWithFlip(RigSpec("checkpoint_interval_steps: 5"), 2, 0, 2, 20);
  EXPECT_EQ(steps, 5);
  EXPECT_EQ(checkpoint[1].code(), absl::StatusCode::kDataLoss);
  const auto [end, last] = RunWithFlip(RigSpec("steps: 7"), 2, 0, 2, 7);
  EXPECT_EQ(last, 7);
  EXPECT_EQ(end[0].code(), absl::StatusCode::kDataLoss);
}

TEST(AgreementTest, ComparingChangesNoBits) {
  const std::string rare = RunAndDigest(RigSpec(""), 1, 4);
  EXPECT_EQ(RunAndDigest(RigSpec("checkpoint_interval_steps: 1"), 3, 4), rare);
}

TEST(AgreementTest, EveryChangedBitChangesTheDigest) {
  for (const size_t bytes : {1, 8, 31, 32, 40, 200}) {
    std::vector<uint8_t> data(bytes, 7);
    const auto digest = [&] {
      StateDigest state;
      state.Update(data.data(), data.size());
      return state.value();
    };
    std::set<uint64_t> digests = {digest()};
    for (size_t bit = 0; bit < 8 * bytes; ++bit) {
      data[bit / 8] ^= 1 << bit % 8;
      digests.insert(digest());
      data[bit / 8] ^= 1 << bit % 8;
    }
    data.push_back(0);  // a longer one
    digests.insert(digest());
    EXPECT_EQ(digests.size(), 8 * bytes + 2) << bytes;
  }
}

}  // namespace
}  // namespace evograd
