// Goal: Meta-Weight-Net's defaults are those that meta_weight_net.proto states, and every wrong
// field is named with its value. Method: a table of edits; each wrong value has a twin, differing
// in that one thing, that is accepted.
#include "spec/meta_weight_net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "spec/resolve.h"
#include "spec/testing/field_case.h"

namespace evograd {
namespace {

using Mwn = v1::MetaWeightNet;
using ::testing::IsEmpty;

// The text of a spec with `problem` in its problem and `rest` beside it.
std::string Text(const std::string& problem, const std::string& rest = "") {
  return absl::StrCat("steps: 5 problem { meta_weight_net { data_dir: '/d' ", problem, " } } ",
                      rest);
}

TEST(MetaWeightNetSpecTest, DefaultsAreThePublishedOnes) {
  v1::JobSpec spec = ParseSpec(Text("", "seed: 7"));
  EXPECT_THAT(Resolve(&spec), IsEmpty());
  const Mwn& mwn = spec.problem().meta_weight_net();
  EXPECT_EQ(mwn.data_format(), Mwn::DATA_FORMAT_UNSPECIFIED) << "found from the files";
  EXPECT_EQ(mwn.classes(), 0) << "found from the files";
  EXPECT_EQ(mwn.model(), Mwn::RESNET);
  EXPECT_EQ(mwn.depth(), 32);
  EXPECT_EQ(mwn.width(), 1);
  EXPECT_TRUE(mwn.has_dropout());
  EXPECT_EQ(mwn.dropout(), 0);
  EXPECT_EQ(mwn.label_noise(), Mwn::UNIFORM);
  EXPECT_EQ(mwn.noise_rate(), 0.4);
  EXPECT_EQ(mwn.flip_seed(), 1u);
  EXPECT_EQ(mwn.data_seed(), 7u);
  EXPECT_EQ(mwn.meta_examples(), 1000);
  EXPECT_EQ(mwn.train_examples(), 0);
  EXPECT_EQ(mwn.batch_size(), 100);
  EXPECT_EQ(mwn.validation_batch_size(), 100);
  EXPECT_TRUE(mwn.augmentation());
  EXPECT_EQ(mwn.weighting(), Mwn::LEARNED);
  EXPECT_EQ(mwn.normalisation(), Mwn::SUM_TO_ONE);
  EXPECT_FALSE(mwn.members_weigh_by_own_losses());
  EXPECT_EQ(mwn.weighting_hidden_units(), 100);
  EXPECT_EQ(mwn.weight_examples(), 2000);
}

TEST(MetaWeightNetSpecTest, DefaultsFollowTheModelAndTheNoise) {
  v1::JobSpec wide =
      ParseSpec(Text("model: WIDE_RESNET label_noise: NONE data_seed: 0", "seed: 7"));
  EXPECT_THAT(Resolve(&wide), IsEmpty());
  EXPECT_EQ(wide.problem().meta_weight_net().depth(), 28);
  EXPECT_EQ(wide.problem().meta_weight_net().width(), 10);
  EXPECT_EQ(wide.problem().meta_weight_net().noise_rate(), 0);
  EXPECT_EQ(wide.problem().meta_weight_net().data_seed(), 0u) << "a given zero stays";
  v1::JobSpec lenet = ParseSpec(Text("model: LENET"));
  EXPECT_THAT(Resolve(&lenet), IsEmpty());
  EXPECT_EQ(lenet.problem().meta_weight_net().depth(), 0);
  EXPECT_FALSE(lenet.problem().meta_weight_net().augmentation());
}

class FieldTest : public ::testing::TestWithParam<FieldCase> {};

TEST_P(FieldTest, WrongIsNamedAndItsTwinIsAccepted) {
  ExpectWrongIsNamedAndItsTwinIsAccepted(GetParam());
}

// `good` and `wrong` stand in the problem, `rest` beside it.
FieldCase Case(const std::string& good, const std::string& wrong, const std::string& field,
               const std::string& says, const std::string& rest = "") {
  return {Text(good, rest), Text(wrong, rest), "problem.meta_weight_net." + field, says};
}

INSTANTIATE_TEST_SUITE_P(
    Fields, FieldTest,
    ::testing::Values(
        FieldCase{"steps: 5 problem { meta_weight_net { data_dir: '/x' } }",
                  "steps: 5 problem { meta_weight_net { data_dir: 'x' } }",
                  "problem.meta_weight_net.data_dir", "`x` is relative"},
        Case("depth: 8", "depth: 2", "depth", "2 is outside 8 to 1202"),
        Case("depth: 20", "depth: 22", "depth", "22 is not 6 n + 2, the depths of RESNET; give 20"),
        Case("model: WIDE_RESNET depth: 16", "model: WIDE_RESNET depth: 14", "depth",
             "14 is not 6 n + 4, the depths of WIDE_RESNET; give 10"),
        Case("width: 64", "width: 65", "width", "65 is outside 1 to 64"),
        Case("width: 1", "width: -1", "width", "-1 is outside 1 to 64"),
        Case("model: LENET", "model: LENET depth: 8", "depth", "8 has no effect on LENET"),
        Case("model: LENET", "model: LENET width: 2", "width", "2 has no effect on LENET"),
        Case("model: LENET data_format: IDX", "model: LENET data_format: CIFAR10", "model",
             "LENET takes grey images of 28 x 28 pixels, not those of CIFAR10"),
        Case("model: WIDE_RESNET dropout: 0.3", "model: WIDE_RESNET dropout: 1", "dropout",
             "1 is not allowed"),
        Case("dropout: 0", "dropout: 0.3", "dropout", "0.3 has no effect on RESNET"),
        Case("label_noise: HIERARCHICAL data_format: CIFAR100",
             "label_noise: HIERARCHICAL data_format: CIFAR10", "label_noise",
             "HIERARCHICAL needs the coarse classes of CIFAR100, which CIFAR10 does not have"),
        Case("label_noise: HIERARCHICAL", "label_noise: HIERARCHICAL data_format: IDX",
             "label_noise", "which IDX does not have"),
        Case("label_noise: ASYMMETRIC data_format: CIFAR10",
             "label_noise: ASYMMETRIC data_format: IDX", "label_noise",
             "published for CIFAR10 and CIFAR100 only"),
        Case("label_noise: FLIP classes: 2", "label_noise: FLIP2 classes: 2", "label_noise",
             "there are 2 in all; use FLIP"),
        Case("flip_seed: 4294967295", "flip_seed: 4294967296", "flip_seed",
             "4294967296 is no seed of NumPy's RandomState; give at most 4294967295"),
        Case("noise_rate: 1", "noise_rate: 1.1", "noise_rate", "1.1 is not allowed"),
        Case("noise_rate: 0", "noise_rate: nan", "noise_rate", "nan is not allowed"),
        Case("label_noise: NONE noise_rate: 0", "label_noise: NONE noise_rate: 0.2", "noise_rate",
             "0.2 has no effect on label_noise NONE"),
        Case("classes: 250", "classes: 257 meta_examples: 257", "classes",
             "257 is outside 2 to 256"),
        Case("data_format: CIFAR10 classes: 10", "data_format: CIFAR10 classes: 20", "classes",
             "20 is wrong for CIFAR10, which has 10"),
        Case("meta_examples: 100", "meta_examples: -100", "meta_examples", "-100 is outside"),
        Case("data_format: CIFAR100 meta_examples: 200", "data_format: CIFAR100 meta_examples: 250",
             "meta_examples", "250 cannot be shared equally by 100 classes"),
        Case("train_examples: 0", "train_examples: -1", "train_examples", "-1 is outside"),
        Case("test_examples: 0", "test_examples: -1", "test_examples", "-1 is outside"),
        Case("train_examples: 100", "train_examples: 99", "batch_size",
             "100 is more than the 99 of train_examples"),
        Case("meta_examples: 100", "meta_examples: 90", "validation_batch_size",
             "100 is more than the 90 of meta_examples"),
        Case("batch_size: 64 validation_batch_size: 64", "batch_size: 65 validation_batch_size: 64",
             "batch_size", "65 cannot be cut into 8 equal shards", "virtual_workers: 8"),
        Case("weighting: EQUAL", "weighting: LEARNED weighting_hidden_units: -1",
             "weighting_hidden_units", "-1 is outside 1 to 10000", "estimator { kind: NONE }"),
        Case("weighting: LEARNED", "weighting: EQUAL", "weighting",
             "EQUAL leaves nothing to learn"),
        Case("weight_examples: 5", "weight_examples: -5", "weight_examples", "-5 is outside 1")));

}  // namespace
}  // namespace evograd
