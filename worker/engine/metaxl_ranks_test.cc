// Goal: MetaXL jobs have the same bits with one and two workers, with every estimator of theirs and
// with dropout; kept and recomputed members agree; what learns nothing runs without
// hyperparameters. Method: engines over a small encoder and sentences in files, stepped by
// in-process ranks; digests of theta, lambda and all results are compared as text.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/engine/testing/engine_rig.h"
#include "worker/problems/registry.h"
#include "worker/problems/testing/metaxl_folder.h"

namespace evograd {
namespace {

constexpr int kSteps = 3;

std::string RunMetaXl(const v1::JobSpec& spec, int ranks) {
  static const CancelFlag never{false};
  return CommonDigest(RunTogether(
      ranks, kSteps, [&] { return MakeEngineOver(MakeProblem(spec, "cpu", never), spec); }));
}

TEST(MetaXlRanksTest, SameBitsWithOneAndTwoWorkers) {
  const MetaXlFolder folder("ranks", /*dropout=*/0.2);
  std::set<std::string> different;
  const std::vector<std::pair<std::string, std::string>> jobs = {
      {"", ""},
      {"", "data_type: FLOAT32 estimator { population: 4 }"},
      {"transformed_layer: 1 perturbed: ENCODER_TOP", "virtual_workers: 2"},
      {"perturbed: ALL", "estimator { kind: EVOGRAD_ANTITHETIC }"},
      {"", "estimator { kind: EVOGRAD_SHARED population: 3 }"},
      {"", "estimator { kind: T1T2 }"},
      {"task: CLASSIFICATION", "evaluation_interval_steps: 2"},
      {"training: JOINT", "estimator { kind: NONE } evaluation_interval_steps: 2"},
      {"training: TARGET_ONLY", "virtual_workers: 2 estimator { kind: NONE }"},
  };
  for (const auto& [fields, others] : jobs) {
    const v1::JobSpec spec = folder.Spec(fields, others);
    const std::string alone = RunMetaXl(spec, 1);
    EXPECT_FALSE(alone.empty());
    EXPECT_EQ(RunMetaXl(spec, 2), alone) << fields << " " << others;
    different.insert(alone);
  }
  EXPECT_EQ(different.size(), jobs.size()) << "digests that do not tell jobs apart prove nothing";
}

TEST(MetaXlRanksTest, KeptAndRecomputedMembersAgree) {
  const MetaXlFolder folder("kept", /*dropout=*/0.2);
  for (const char* fields : {"", "transformed_layer: 1 perturbed: ENCODER_TOP"}) {
    const auto run = [&](const char* graph) {
      return RunMetaXl(
          folder.Spec(fields,
                      absl::StrCat("estimator { population: 3 member_graph: ", graph, " }")),
          1);
    };
    EXPECT_EQ(run("RETAIN"), run("RECOMPUTE")) << fields;
  }
}

}  // namespace
}  // namespace evograd
