// Goal: a Meta-Weight-Net job gives the same bits with one worker and with two, whatever the
// estimator, and its members leave no trace in the batch-norm statistics. Method: a small residual
// network on pictures of 8 x 8 random pixels that this test writes; groups of in-process ranks.
#include "worker/problems/meta_weight_net.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "spec/resolve.h"
#include "worker/data/testing/idx_bytes.h"
#include "worker/engine/testing/engine_rig.h"
#include "worker/engine/training_engine.h"

namespace evograd {
namespace {

constexpr int kClasses = 4;
constexpr int kExtent = 8;

void WritePictures(const std::string& prefix, uint32_t count) {
  std::string pixels, labels;
  uint32_t state = count;
  for (uint32_t i = 0; i < count * kExtent * kExtent; ++i) {
    state = state * 1664525 + 1013904223;
    pixels.push_back(static_cast<char>(state >> 24));
  }
  for (uint32_t i = 0; i < count; ++i) labels.push_back(static_cast<char>(i % kClasses));
  const std::string path = testing::TempDir() + "/" + prefix;
  std::ofstream(path + "-images-idx3-ubyte", std::ios::binary)
      << IdxImages(count, kExtent, kExtent, pixels);
  std::ofstream(path + "-labels-idx1-ubyte", std::ios::binary) << IdxLabels(labels);
}

std::unique_ptr<TrainingEngine> MakeEngine(const std::string& text) {
  static const CancelFlag never{false};
  WritePictures("train", 64);
  WritePictures("t10k", 8);
  v1::JobSpec spec;
  const std::string job = absl::StrCat(
      "steps: 100 seed: 3 problem { meta_weight_net { data_dir: '", testing::TempDir(),
      "' depth: 8 meta_examples: 16 batch_size: 16 validation_batch_size: 8 } } "
      "base_optimizer { kind: SGD learning_rate: 0.1 momentum: 0.9 } estimator { sigma: 0.01 } ",
      text);
  EVOGRAD_CHECK(google::protobuf::TextFormat::MergeFromString(job, &spec), job.c_str());
  const std::vector<FieldViolation> violations = Resolve(&spec);
  EVOGRAD_CHECK(violations.empty(), violations[0].description.c_str());
  return MakeEngineOver(MakeMetaWeightNet(spec, "cpu", never), spec);
}

std::string RunAndDigest(const std::string& text, int ranks, int steps) {
  return CommonDigest(RunTogether(ranks, steps, [&] { return MakeEngine(text); }));
}

TEST(MetaWeightNetEngineTest, OneAndTwoWorkersGiveTheSameBits) {
  for (const char* text :
       {"estimator { population: 2 }", "estimator { kind: EVOGRAD_ANTITHETIC population: 4 }",
        "estimator { kind: EVOGRAD_SHARED } virtual_workers: 2",
        "problem { meta_weight_net { members_weigh_by_own_losses: true } }",
        "estimator { kind: T1T2 } virtual_workers: 2",
        "estimator { kind: NONE } problem { meta_weight_net { weighting: EQUAL } }"}) {
    const std::string one = RunAndDigest(text, 1, 2);
    EXPECT_EQ(RunAndDigest(text, 2, 2), one) << text;
    EXPECT_NE(RunAndDigest(absl::StrCat(text, " seed: 4"), 1, 2), one) << text;
  }
}

TEST(MetaWeightNetEngineTest, RetainedAndRecomputedMembersGiveTheSameBits) {
  EXPECT_EQ(RunAndDigest("estimator { population: 3 member_graph: RETAIN }", 1, 2),
            RunAndDigest("estimator { population: 3 member_graph: RECOMPUTE }", 1, 2));
}

TEST(MetaWeightNetEngineTest, MembersLeaveNoTraceInTheBatchNormStatistics) {
  const auto buffers = [](const char* estimator) {
    const auto engine = MakeEngine(absl::StrCat("step_order: BASE_FIRST ", estimator));
    EXPECT_TRUE(engine->Initialise().ok());
    const auto group = InProcessGroup(1);
    EXPECT_TRUE(engine->RunStep(*group[0]).ok());
    const at::Tensor& tensor = engine->parts().state->buffers;
    const float* values = static_cast<const float*>(tensor.const_data_ptr());
    return std::vector<float>(values, values + tensor.numel());
  };
  const std::vector<float> plain = buffers("estimator { kind: NONE }");
  EXPECT_EQ(buffers("estimator { population: 3 member_graph: RETAIN }"), plain);
  EXPECT_EQ(buffers("estimator { population: 3 member_graph: RECOMPUTE }"), plain);
  EXPECT_EQ(buffers("estimator { kind: T1T2 }"), plain);
  EXPECT_NE(plain, std::vector<float>(plain.size(), 0.0f));
}

}  // namespace
}  // namespace evograd
