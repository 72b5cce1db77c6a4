// Goal: lft and pretrain run in the engine as every problem must: one and two workers get the same
// bits, members leave batch normalisation's statistics alone, a pretrain job has no hyperparameters
// and still runs, and both learn. Method: generated pictures (worker/problems/testing), a small
// network, ranks on threads of this process.
#include <ATen/ATen.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "spec/resolve.h"
#include "worker/engine/testing/engine_rig.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/registry.h"
#include "worker/problems/testing/picture_domains.h"

namespace evograd {
namespace {

const std::string& Folder() {
  static const std::string& folder = *[] {
    auto* path = new std::string(testing::TempDir() + "/domains");
    WritePictureDomains(*path, {{"r", 3, 5}, {"g", 3, 5}, {"b", 3, 5}});
    return path;
  }();
  return folder;
}

v1::JobSpec Parse(const std::vector<std::string>& texts) {
  v1::JobSpec spec;
  for (const std::string& text : texts) {
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &spec)) << text;
  }
  for (const FieldViolation& violation : Resolve(&spec)) {
    ADD_FAILURE() << violation.field << ": " << violation.description;
  }
  return spec;
}

v1::JobSpec LftSpec(const std::string& more) {
  return Parse({absl::StrCat("steps: 100 seed: 5 problem { lft { data_dir: '", Folder(),
                             "' seen_domains: ['r', 'g', 'b'] test_domains: 'b' backbone: CONV4 "
                             "image_extent: 20 way: 2 shot: 1 query: 2 auxiliary_batch_size: 4 "
                             "steps_per_epoch: 1 evaluation_episodes: 20 validation_episodes: 3 "
                             "evaluation_query: 2 loader_threads: 1 } }"),
                more});
}

v1::JobSpec PretrainSpec(const std::string& more) {
  return Parse({absl::StrCat("steps: 100 seed: 5 estimator { kind: NONE } problem { pretrain { "
                             "data_dir: '",
                             Folder(),
                             "' domains: ['r', 'g'] backbone: CONV4 image_extent: 20 "
                             "batch_size: 8 loader_threads: 1 } }"),
                more});
}

Engines RunSteps(const v1::JobSpec& spec, int ranks, int steps) {
  static const CancelFlag never{false};
  return RunTogether(ranks, steps,
                     [&] { return MakeEngineOver(MakeProblem(spec, "cpu", never), spec); });
}

void ExpectSameHashes(const v1::JobSpec& spec) {
  EXPECT_EQ(CommonDigest(RunSteps(spec, 2, 3)), CommonDigest(RunSteps(spec, 1, 3)))
      << spec.ShortDebugString();
}

double MeanTrainLoss(const TrainingEngine& engine, int first, int count) {
  double sum = 0;
  for (int i = first; i < first + count; ++i) {
    sum += engine.pending()[i].metrics().train_loss() / count;
  }
  return sum;
}

TEST(LftEngineTest, OneAndTwoWorkersAgree) {
  for (const char* estimator : {"EVOGRAD population: 2", "EVOGRAD_SHARED population: 3", "T1T2",
                                "EVOGRAD population: 2 member_graph: RECOMPUTE"}) {
    ExpectSameHashes(
        LftSpec(absl::StrCat("virtual_workers: 2 problem { lft { episodes_per_step: 2 "
                             "} } estimator { kind: ",
                             estimator, " }")));
  }
  // Members alone are spread, as published.
  ExpectSameHashes(LftSpec("estimator { population: 4 }"));
}

TEST(LftEngineTest, RetainedAndRecomputedMembersAreTheSame) {
  const auto hash = [](const std::string& graph) {
    return CommonDigest(
        RunSteps(LftSpec(absl::StrCat("estimator { member_graph: ", graph, " }")), 1, 3));
  };
  EXPECT_EQ(hash("RETAIN"), hash("RECOMPUTE"));
}

TEST(LftEngineTest, TheBaseStepIsThatOfPlainTrainingAndMembersMoveNoStatistics) {
  const auto plain =
      RunSteps(LftSpec("estimator { kind: NONE } problem { lft { transformation: FIXED } }"), 1, 1);
  for (const char* kind : {"EVOGRAD", "EVOGRAD_ANTITHETIC", "T1T2"}) {
    const auto learned = RunSteps(LftSpec(absl::StrCat("estimator { kind: ", kind, " }")), 1, 1);
    const FlatState& state = *learned[0]->parts().state;
    EXPECT_TRUE(state.base.equal(plain[0]->parts().state->base)) << kind;
    EXPECT_TRUE(state.buffers.equal(plain[0]->parts().state->buffers)) << kind;
    EXPECT_NE(learned[0]->hyper().values, plain[0]->hyper().values) << kind;
  }
}

// One seed's accuracy hangs on its last bits, and so on the machine: seeds deviate by 0.13 from
// their mean, which eight seeds each on AVX2 and on SSE4.1 have at 0.667. For another machine's
// mean of twelve a half is 3.4 deviations away, that of the 0.667 included; the losses' thresholds
// are six and more.
TEST(LftEngineTest, BothLearn) {
  constexpr int kSeeds = 12;
  // Its loss falls alike with every seed.
  constexpr int kPretrainSeeds = 3;
  double accuracy = 0;
  double loss = 0;
  double pretrain_loss = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const std::string more = absl::StrCat("base_optimizer { learning_rate: 0.003 } seed: ", seed);
    const auto lft = RunSteps(
        LftSpec(absl::StrCat(more, " problem { lft { evaluation_episodes: 50 } }")), 1, 60);
    const auto evaluation = lft[0]->Evaluate();
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    const double of_seed = evaluation->metrics().at("accuracy_b");
    const double loss_of_seed = MeanTrainLoss(*lft[0], 50, 10) / MeanTrainLoss(*lft[0], 0, 10);
    // A failure shows what each seed did.
    std::printf("seed %d: accuracy %.3f, loss %.3f of the first\n", seed, of_seed, loss_of_seed);
    accuracy += of_seed / kSeeds;
    loss += loss_of_seed / kSeeds;
    if (seed > kPretrainSeeds) continue;
    const auto pretrain = RunSteps(PretrainSpec(more), 1, 60);
    const double pretrain_of_seed =
        MeanTrainLoss(*pretrain[0], 50, 10) / MeanTrainLoss(*pretrain[0], 0, 10);
    std::printf("  pretraining loss %.3f of the first\n", pretrain_of_seed);
    pretrain_loss += pretrain_of_seed / kPretrainSeeds;
  }
  EXPECT_LT(loss, 0.8);
  EXPECT_GT(accuracy, 0.5) << "chance is a half";
  EXPECT_LT(pretrain_loss, 0.7);
}

TEST(LftEngineTest, PretrainingHasNoHyperparametersAndAgreesOnTwoWorkers) {
  ExpectSameHashes(PretrainSpec("virtual_workers: 2"));
  const auto engines = RunSteps(PretrainSpec(""), 1, 2);
  EXPECT_TRUE(engines[0]->hyper().values.empty());
  EXPECT_EQ(engines[0]->pending()[0].hyperparameter_names_size(), 0);
}

TEST(LftEngineTest, BetweenStepsOnlyValidationClassesAreScored) {
  const auto engines = RunSteps(LftSpec("evaluation_interval_steps: 2"), 1, 3);
  const auto& pending = engines[0]->pending();
  EXPECT_EQ(pending[0].evaluation().metrics().count("validation_accuracy_r"), 1u);
  EXPECT_EQ(pending[0].evaluation().metrics().count("accuracy_b"), 0u);
  EXPECT_FALSE(pending[1].has_evaluation());
  EXPECT_EQ(pending[2].evaluation().metrics().count("validation_accuracy_r"), 1u);
}

}  // namespace
}  // namespace evograd
