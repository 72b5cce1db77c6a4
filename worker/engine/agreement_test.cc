// Goal: ranks that hold different parameters are noticed before anything is told or stored of them,
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
#include "worker/collective/suspects.h"
#include "worker/engine/disagreement.h"
#include "worker/engine/testing/engine_rig.h"

namespace evograd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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

TEST(AgreementTest, ARankWithOtherParametersIsNoticedAtItsNextStep) {
  // Two ranks cannot say which of them is right.
  const auto [two, steps] = RunWithFlip(RigSpec(""), 2, 1, 3, 10);
  EXPECT_EQ(steps, 4);
  for (const absl::Status& status : two) {
    EXPECT_TRUE(RanksDisagree(status)) << status;
    EXPECT_THAT(Suspects(status), IsEmpty());
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("after step 4 the 2 ranks hold different"));
  }
  const auto [three, later] = RunWithFlip(RigSpec(""), 3, 2, 7, 10);
  EXPECT_EQ(later, 8);
  for (const absl::Status& status : three) {
    EXPECT_TRUE(RanksDisagree(status)) << status;
    EXPECT_THAT(Suspects(status), ElementsAre(2));
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 2 holds other parameters"));
  }
  const auto undisturbed = RunWithFlip(RigSpec(""), 2, -1, 0, 10).first;
  for (const absl::Status& status : undisturbed) EXPECT_TRUE(status.ok()) << status;
}

TEST(AgreementTest, DevicesCompareBeforeCheckpointsAndNowAndThen) {
  const v1::JobSpec spec = RigSpec("steps: 1000 checkpoint_interval_steps: 50");
  EXPECT_TRUE(AgreementDue(spec, /*in_memory=*/true, 1));
  std::vector<int64_t> due;
  for (int64_t done = 1; done <= 130; ++done) {
    if (AgreementDue(spec, /*in_memory=*/false, done)) due.push_back(done);
  }
  EXPECT_THAT(due, ElementsAre(50, 64, 100, 128));
  EXPECT_TRUE(AgreementDue(spec, /*in_memory=*/false, 1000));
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

// Signs are the highest bits: differences that only multiplication carries never leave them.
TEST(AgreementTest, SignsThatChangeTogetherChangeTheDigest) {
  std::vector<float> values(64, 0.5f);
  const auto digest = [&] {
    StateDigest state;
    state.Update(values.data(), values.size() * sizeof(float));
    return state.value();
  };
  std::set<uint64_t> digests = {digest()};
  size_t cases = 1;
  for (size_t first = 0; first < values.size(); ++first) {
    for (size_t second = first + 1; second < values.size(); ++second) {
      for (size_t third = second + 1; third < values.size(); ++third, ++cases) {
        for (const size_t i : {first, second, third}) values[i] = -values[i];
        digests.insert(digest());
        for (const size_t i : {first, second, third}) values[i] = -values[i];
      }
    }
  }
  EXPECT_EQ(digests.size(), cases);
}

}  // namespace
}  // namespace evograd
