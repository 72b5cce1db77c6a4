// Goal: batches, losses, hypergradients, evaluations and artifacts are what the header says, and
// data that do not fit the job are refused. Method: small files of random pixels that only this
// test writes; losses are compared with networks driven by hand, the hypergradient with a
// difference quotient; the pictures of a batch are found again among the file's.
#include "worker/problems/meta_weight_net.h"

#include <ATen/ATen.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "spec/resolve.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/data/testing/idx_bytes.h"
#include "worker/models/cifar_resnet.h"
#include "worker/models/lenet.h"
#include "worker/models/weighting_net.h"

namespace evograd {
namespace {

using Mwn = v1::MetaWeightNet;

// A picture in which a bright bar tells the class, over random pixels.
std::string Picture(int label, int number, int channels, int extent) {
  std::string pixels;
  uint32_t state = 7919 * number + 1;
  for (int channel = 0; channel < channels; ++channel) {
    for (int row = 0; row < extent; ++row) {
      for (int column = 0; column < extent; ++column) {
        state = state * 1664525 + 1013904223;
        const bool bar = row / 2 == label;
        pixels.push_back(static_cast<char>((state >> 26) + (bar ? 180 : 0)));
      }
    }
  }
  return pixels;
}

class MetaWeightNetTest : public FolderFixture {
 protected:
  MetaWeightNetTest() { at::set_num_threads(1); }

  // `each` pictures of each of `classes` classes, in turn.
  void WriteIdx(const std::string& prefix, int classes, int each, uint32_t extent) {
    const uint32_t count = classes * each;
    std::string pixels;
    std::string labels;
    for (int i = 0; i < classes * each; ++i) {
      pixels += Picture(i % classes, i, 1, extent);
      labels.push_back(static_cast<char>(i % classes));
    }
    Write(prefix + "-images-idx3-ubyte", IdxImages(count, extent, extent, pixels));
    Write(prefix + "-labels-idx1-ubyte", IdxLabels(labels));
  }
  void WriteCifar10(int each) {
    for (int batch = 1; batch <= 6; ++batch) {
      std::string bytes;
      for (int i = 0; i < 10 * each; ++i) {
        bytes += static_cast<char>(i % 10) + Picture(i % 10, 1000 * batch + i, 3, 32);
      }
      Write(batch == 6 ? "test_batch.bin" : absl::StrCat("data_batch_", batch, ".bin"), bytes);
    }
  }
  void WriteCifar100(int each) {
    for (const char* name : {"train.bin", "test.bin"}) {
      std::string bytes;
      for (int i = 0; i < 100 * each; ++i) {
        bytes += std::string(1, i % 20) + std::string(1, i % 100) + Picture(i % 20, i, 3, 32);
      }
      Write(name, bytes);
    }
  }
  // Grey 28 x 28, 4 classes: 80 training and 20 test pictures.
  void WriteSmall() {
    WriteIdx("train", 4, 20, 28);
    WriteIdx("t10k", 4, 5, 28);
  }

  v1::JobSpec Spec(const std::string& problem, const std::string& rest = "") {
    v1::JobSpec spec;
    const std::string text =
        absl::StrCat("steps: 5 seed: 5 problem { meta_weight_net { data_dir: '", folder_, "' ",
                     problem, " } } ", rest);
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &spec)) << text;
    for (const FieldViolation& v : Resolve(&spec)) ADD_FAILURE() << v.field << v.description;
    return spec;
  }

  std::unique_ptr<Problem> Make(const v1::JobSpec& spec) {
    auto made = MakeMetaWeightNet(spec, "cpu", cancelled_);
    EXPECT_TRUE(made.ok()) << made.status();
    const at::ScalarType type = spec.data_type() == v1::FLOAT64 ? at::kDouble : at::kFloat;
    parameters_ = at::zeros({(*made)->parameters().elements()}, type);
    buffers_ = at::zeros({(*made)->buffers().elements()}, type);
    (*made)->Bind(parameters_, buffers_);
    EXPECT_TRUE((*made)->Initialise(9).ok());
    return *std::move(made);
  }

  void ExpectRefused(const v1::JobSpec& spec, absl::StatusCode code,
                     const std::vector<std::string>& parts) {
    FolderFixture::ExpectRefused(MakeMetaWeightNet(spec, "cpu", cancelled_), code, parts);
  }

  at::Tensor Lambda(Problem& problem, at::ScalarType type = at::kDouble) {
    return at::tensor(problem.initial_hyperparameters(), at::kDouble).to(type);
  }

  std::atomic<bool> cancelled_{false};
  at::Tensor parameters_;
  at::Tensor buffers_;
};

constexpr char kSmall[] = "model: LENET meta_examples: 16 batch_size: 16 validation_batch_size: 8 ";
constexpr char kResNet[] =
    "model: RESNET depth: 8 meta_examples: 16 batch_size: 16 validation_batch_size: 8 ";
constexpr char kDouble[] = "data_type: FLOAT64";

std::vector<int64_t> Values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

TEST_F(MetaWeightNetTest, HyperparametersAreTheWeightingNets) {
  WriteSmall();
  const auto problem = Make(Spec(kSmall));
  EXPECT_EQ(problem->hyperparameter_names().size(), 301u);
  EXPECT_EQ(problem->hyperparameter_names()[0], "hidden.weight[0]");
  EXPECT_EQ(problem->initial_hyperparameters(), WeightingNet(100).InitialValues(5));
  EXPECT_FALSE(problem->base_first()) << "as published: the hyper step comes first";
  EXPECT_EQ(Make(Spec(absl::StrCat(kSmall, "weighting_hidden_units: 3")))
                ->initial_hyperparameters()
                .size(),
            10u);
}

TEST_F(MetaWeightNetTest, ArtifactsDescribeTheSplitAndTheNoise) {
  WriteSmall();
  const auto artifacts =
      Make(Spec(absl::StrCat(kSmall, "label_noise: FLIP noise_rate: 0.5")))->Artifacts();
  ASSERT_EQ(artifacts.size(), 5u);
  const at::Tensor matrix = artifacts.at("noise_matrix");
  EXPECT_EQ(matrix.scalar_type(), at::kDouble);
  EXPECT_TRUE(matrix.sum(1).eq(1).all().item<bool>());
  const std::vector<int64_t> meta = Values(artifacts.at("meta_ids"));
  const std::vector<int64_t> train = Values(artifacts.at("train_ids"));
  const std::vector<int64_t> labels = Values(artifacts.at("noisy_labels"));
  const std::vector<int64_t> flipped = Values(artifacts.at("flipped_ids"));
  std::set<int64_t> all(meta.begin(), meta.end());
  all.insert(train.begin(), train.end());
  EXPECT_EQ(meta.size(), 16u);
  EXPECT_EQ(train.size(), 64u);
  EXPECT_EQ(all.size(), 80u) << "no image is on both sides";
  ASSERT_EQ(labels.size(), train.size());
  std::vector<int64_t> wrong;
  for (size_t i = 0; i < train.size(); ++i) {
    const int64_t clean = train[i] % 4;  // as WriteIdx deals the classes
    EXPECT_GT(matrix[clean][labels[i]].item<double>(), 0) << "example " << train[i];
    if (labels[i] != clean) wrong.push_back(train[i]);
  }
  EXPECT_EQ(flipped, wrong);
  EXPECT_NEAR(flipped.size(), 32, 4 * 4.0) << "half of 64, four deviations";
}

TEST_F(MetaWeightNetTest, JobsOfOneDataSeedShareTheirData) {
  WriteSmall();
  const auto labels = [&](const std::string& text) {
    const auto problem = Make(Spec(absl::StrCat(kSmall, text)));
    auto values = Values(problem->Artifacts().at("noisy_labels"));
    const auto meta = Values(problem->Artifacts().at("meta_ids"));
    values.insert(values.end(), meta.begin(), meta.end());
    return values;
  };
  EXPECT_EQ(labels("data_seed: 5"), labels("")) << "the job's seed is 5";
  EXPECT_NE(labels("data_seed: 6"), labels(""));
}

TEST_F(MetaWeightNetTest, BatchesHoldNormalisedPicturesWithTheirLabels) {
  WriteSmall();
  const auto problem = Make(Spec(absl::StrCat(kSmall, "train_examples: 16"), kDouble));
  const auto artifacts = problem->Artifacts();
  const std::vector<int64_t> train = Values(artifacts.at("train_ids"));
  const std::vector<int64_t> labels = Values(artifacts.at("noisy_labels"));
  // The training pictures in the order of the file, normalised in the plainest way.
  std::vector<at::Tensor> pictures;
  for (const int64_t id : train) {
    std::string pixels = Picture(id % 4, id, 1, 28);
    pictures.push_back(at::from_blob(pixels.data(), {1, 28, 28}, at::kByte).to(at::kDouble) / 255);
  }
  const at::Tensor stack = at::stack(pictures);
  const at::Tensor expected = (stack - stack.mean()) / stack.std(/*unbiased=*/false);
  const Batch batch = *problem->TrainBatch(3);
  ASSERT_EQ(batch.tensors.size(), 2u);
  std::set<int64_t> found;
  for (int64_t i = 0; i < 16; ++i) {
    const at::Tensor distances = (expected - batch.tensors[0][i]).abs().amax({1, 2, 3});
    const int64_t at = distances.argmin().item<int64_t>();
    EXPECT_LT(distances[at].item<double>(), 1e-12);
    EXPECT_EQ(batch.tensors[1][i].item<int64_t>(), labels[at]);
    found.insert(at);
  }
  EXPECT_EQ(found.size(), 16u) << "an epoch is one batch here";
  EXPECT_TRUE(problem->TrainBatch(3)->tensors[0].equal(batch.tensors[0])) << "a pure function";
  EXPECT_FALSE(problem->TrainBatch(4)->tensors[0].equal(batch.tensors[0]));
  const Batch meta = *problem->ValidationBatch(3);
  EXPECT_EQ(meta.tensors[0].sizes(), (at::IntArrayRef{8, 1, 28, 28}));
}

TEST_F(MetaWeightNetTest, MetaLabelsAreClean) {
  WriteSmall();
  const auto problem =
      Make(Spec(absl::StrCat(kSmall, "validation_batch_size: 16 noise_rate: 1 label_noise: FLIP")));
  const at::Tensor labels = std::get<0>(problem->ValidationBatch(0)->tensors[1].sort());
  EXPECT_TRUE(labels.equal(at::arange(16).div(4, "floor").to(at::kLong)));
  // Its twin: every training label is wrong.
  EXPECT_EQ(problem->Artifacts().at("flipped_ids").numel(), 64);
}

TEST_F(MetaWeightNetTest, AugmentedCifarPicturesAreCropsOfTheirOriginals) {
  WriteCifar10(3);
  const std::string text = absl::StrCat(kResNet, "meta_examples: 20 ");
  const auto plain = Make(Spec(text + "augmentation: false", kDouble));
  const auto augmented = Make(Spec(text, kDouble));
  const Batch a = *plain->TrainBatch(1);
  const Batch b = *augmented->TrainBatch(1);
  EXPECT_TRUE(a.tensors[1].equal(b.tensors[1])) << "the same examples";
  const at::Tensor padded = at::reflection_pad2d(a.tensors[0], {4, 4, 4, 4});
  int unchanged = 0;
  for (int64_t i = 0; i < 16; ++i) {
    int matches = 0;
    for (int place = 0; place < 81; ++place) {
      const at::Tensor crop = padded[i].narrow(1, place / 9, 32).narrow(2, place % 9, 32);
      matches += crop.equal(b.tensors[0][i]) + crop.flip({2}).equal(b.tensors[0][i]);
    }
    EXPECT_EQ(matches, 1) << "example " << i;
    unchanged += a.tensors[0][i].equal(b.tensors[0][i]);
  }
  EXPECT_LT(unchanged, 4);
  EXPECT_FALSE(
      plain->ValidationBatch(1)->tensors[0].equal(augmented->ValidationBatch(1)->tensors[0]))
      << "meta pictures too";
  // Published normalisation.
  const double white = a.tensors[0].select(1, 0).max().item<double>();
  EXPECT_LE(white, (1 - 125.3 / 255) / (63.0 / 255) + 1e-12);
}

TEST_F(MetaWeightNetTest, LossesAreTheTwins) {
  WriteSmall();
  LeNet net(4);
  net.to(at::kDouble);
  net.Initialise(9);
  for (const bool mean : {false, true}) {
    const auto problem =
        Make(Spec(absl::StrCat(kSmall, mean ? "normalisation: MEAN" : ""), kDouble));
    const Batch batch = *problem->TrainBatch(0);
    const at::Tensor losses = at::cross_entropy_loss(net.Forward(batch.tensors[0]),
                                                     batch.tensors[1], {}, at::Reduction::None);
    const at::Tensor lambda = Lambda(*problem);
    const at::Tensor weights = WeightingNet(100).Weights(lambda, losses);
    const double expected =
        ((weights * losses).sum() / (mean ? 16 * at::ones({}) : weights.sum())).item<double>();
    EXPECT_NEAR(*problem->MemberLoss(batch, lambda), expected, 1e-12);
    const Batch meta = *problem->ValidationBatch(0);
    EXPECT_NEAR(
        *problem->ValidationGradient(meta, at::zeros_like(parameters_)),
        at::cross_entropy_loss(net.Forward(meta.tensors[0]), meta.tensors[1]).item<double>(),
        1e-12);
  }
  const auto vanilla =
      Make(Spec(absl::StrCat(kSmall, "weighting: EQUAL"), "estimator { kind: NONE }"));
  const Batch batch = *vanilla->TrainBatch(0);
  net.to(at::kFloat);
  EXPECT_NEAR(
      *vanilla->MemberLoss(batch, Lambda(*vanilla, at::kFloat)),
      at::cross_entropy_loss(net.Forward(batch.tensors[0]), batch.tensors[1]).item<double>(), 1e-6);
}

TEST_F(MetaWeightNetTest, MembersWeighByTheBasePointsLossesUnlessAskedOtherwise) {
  WriteSmall();
  for (const bool own : {false, true}) {
    const auto problem =
        Make(Spec(absl::StrCat(kSmall, own ? "members_weigh_by_own_losses: true" : ""), kDouble));
    const at::Tensor lambda = Lambda(*problem);
    const Batch batch = *problem->TrainBatch(0);
    const Batch prepared = *problem->PrepareMembers(batch, lambda);
    ASSERT_EQ(prepared.tensors.size(), own ? 2u : 3u);
    // At the base point both are the same.
    EXPECT_EQ(*problem->MemberLoss(prepared, lambda), *problem->MemberLoss(batch, lambda));
    parameters_ += 0.01 * at::sin(at::arange(parameters_.numel(), at::kDouble));
    const double loss = *problem->MemberLoss(prepared, lambda);
    const double by_own_losses = *problem->MemberLoss(batch, lambda);
    EXPECT_EQ(loss == by_own_losses, own);
    const at::Tensor losses = problem->PrepareMembers(batch, lambda)->tensors.back();
    if (own) continue;
    const at::Tensor weights = WeightingNet(100).Weights(lambda, prepared.tensors[2]);
    EXPECT_NEAR(loss, ((weights * losses).sum() / weights.sum()).item<double>(), 1e-12);
  }
}

TEST_F(MetaWeightNetTest, TheHypergradientIsTheDifferenceQuotient) {
  WriteSmall();
  const auto problem = Make(Spec(kSmall, kDouble));
  const at::Tensor lambda = Lambda(*problem);
  const Batch batch = *problem->PrepareMembers(*problem->TrainBatch(0), lambda);
  const auto member = problem->MemberGradient(batch, lambda);
  ASSERT_TRUE(member.ok()) << member.status();
  constexpr double kStep = 1e-6;
  const at::Tensor direction = at::sin(at::arange(301, at::kDouble));
  const double quotient = (*problem->MemberLoss(batch, lambda + kStep * direction) -
                           *problem->MemberLoss(batch, lambda - kStep * direction)) /
                          (2 * kStep);
  EXPECT_GT(std::abs(quotient), 1e-6);
  EXPECT_NEAR(at::dot(member->hypergradient, direction).item<double>(), quotient,
              1e-3 * std::abs(quotient) + 1e-9);
}

TEST_F(MetaWeightNetTest, RecomputedForwardsRepeatAndStatisticsStay) {
  WriteCifar10(3);
  const auto problem = Make(
      Spec("model: WIDE_RESNET depth: 10 width: 1 dropout: 0.3 meta_examples: 20 batch_size: 16 "
           "validation_batch_size: 8"));
  const at::Tensor lambda = Lambda(*problem, at::kFloat);
  const Batch batch = *problem->TrainBatch(0);
  const at::Tensor before = buffers_.clone();
  at::manual_seed(3);
  const Batch prepared = *problem->PrepareMembers(batch, lambda);
  EXPECT_TRUE(buffers_.equal(before)) << "preparing members leaves batch norm alone";
  at::manual_seed(3);
  EXPECT_TRUE(problem->PrepareMembers(batch, lambda)->tensors[2].equal(prepared.tensors[2]));
  at::manual_seed(4);
  EXPECT_FALSE(problem->PrepareMembers(batch, lambda)->tensors[2].equal(prepared.tensors[2]));

  at::manual_seed(5);
  const double loss = *problem->MemberLoss(prepared, lambda);
  EXPECT_FALSE(buffers_.equal(before)) << "training mode: the engine puts them back";
  buffers_.copy_(before);
  at::manual_seed(5);
  const auto retained = problem->RetainMember(prepared, lambda);
  ASSERT_TRUE(retained.ok()) << retained.status();
  EXPECT_EQ((*retained)->loss(), loss);
  buffers_.copy_(before);
  at::manual_seed(5);
  const auto recomputed = problem->MemberGradient(prepared, lambda);
  ASSERT_TRUE(recomputed.ok()) << recomputed.status();
  EXPECT_EQ(recomputed->loss, loss);
  EXPECT_TRUE(recomputed->hypergradient.equal(*(*retained)->Hypergradient()));
}

TEST_F(MetaWeightNetTest, MetricsAreTheTwins) {
  WriteSmall();
  const auto problem = Make(Spec(absl::StrCat(kSmall, "test_examples: 17"), kDouble));
  LeNet net(4);
  net.to(at::kDouble);
  net.Initialise(9);
  const at::NoGradGuard no_grad;
  const at::Tensor lambda = Lambda(*problem);
  const auto evaluation = problem->Evaluate(lambda);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  const auto& metrics = evaluation->metrics;

  const auto artifacts = problem->Artifacts();
  const std::vector<int64_t> train = Values(artifacts.at("train_ids"));
  const at::Tensor labels = artifacts.at("noisy_labels");
  const auto pictures = [](const std::vector<int64_t>& ids) {
    std::vector<at::Tensor> all;
    for (const int64_t id : ids) {
      std::string pixels = Picture(id % 4, id, 1, 28);
      all.push_back(at::from_blob(pixels.data(), {1, 28, 28}, at::kByte).to(at::kDouble) / 255);
    }
    return at::stack(all);
  };
  const at::Tensor images = pictures(train);
  const auto logits = [&](const at::Tensor& of) {
    return net.Forward((of - images.mean()) / images.std(/*unbiased=*/false));
  };
  std::vector<int64_t> tests(17);
  for (int64_t i = 0; i < 17; ++i) tests[i] = i;
  const at::Tensor answers = logits(pictures(tests)).argmax(1);
  const at::Tensor truth = at::arange(17).remainder(4);
  EXPECT_EQ(metrics.at("accuracy"), answers.eq(truth).sum().item<double>() / 17);
  EXPECT_NEAR(metrics.at("test_loss"),
              at::cross_entropy_loss(logits(pictures(tests)), truth.to(at::kLong)).item<double>(),
              1e-12);
  const at::Tensor losses = at::cross_entropy_loss(logits(images), labels, {}, at::Reduction::None);
  const at::Tensor weights = WeightingNet(100).Weights(lambda, losses);
  std::vector<int64_t> clean(train.size());
  for (size_t i = 0; i < train.size(); ++i) clean[i] = train[i] % 4;
  const at::Tensor noisy = labels.ne(at::tensor(clean, at::kLong));
  EXPECT_NEAR(metrics.at("noisy_share"), noisy.to(at::kDouble).mean().item<double>(), 1e-15);
  EXPECT_NEAR(metrics.at("weight_noisy"), weights.masked_select(noisy).mean().item<double>(),
              1e-12);
  EXPECT_NEAR(metrics.at("weight_clean"),
              weights.masked_select(noisy.logical_not()).mean().item<double>(), 1e-12);
  EXPECT_NEAR(metrics.at("effective_examples"),
              (weights.sum().square() / (64 * weights.square().sum())).item<double>(), 1e-12);
  EXPECT_EQ(buffers_.numel(), 0) << "LeNet has no statistics";

  const at::Tensor shut = at::zeros_like(lambda);
  shut[300] = -50;
  const auto collapsed = problem->Evaluate(shut);
  ASSERT_TRUE(collapsed.ok()) << collapsed.status();
  ASSERT_EQ(collapsed->warnings.size(), 1u);
  EXPECT_TRUE(absl::StrContains(collapsed->warnings[0], "collapsed to zero"));
  cancelled_ = true;
  EXPECT_EQ(problem->Evaluate(lambda).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(MetaWeightNetTest, EvaluationUsesRunningStatisticsAndMovesNothing) {
  WriteCifar10(3);
  const auto problem = Make(Spec(absl::StrCat(kResNet, "meta_examples: 20")));
  const at::Tensor lambda = Lambda(*problem, at::kFloat);
  ASSERT_TRUE(problem->MemberLoss(*problem->TrainBatch(0), lambda).ok());
  const at::Tensor before = buffers_.clone();
  const auto first = problem->Evaluate(lambda);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(buffers_.equal(before));
  ASSERT_TRUE(problem->MemberLoss(*problem->TrainBatch(0), lambda).ok());
  EXPECT_NE(problem->Evaluate(lambda)->metrics.at("test_loss"), first->metrics.at("test_loss"))
      << "other running statistics";
}

TEST_F(MetaWeightNetTest, EveryNoiseRunsOnCifar100) {
  WriteCifar100(2);
  for (const char* noise : {"UNIFORM", "FLIP", "FLIP2", "HIERARCHICAL", "ASYMMETRIC", "NONE"}) {
    const auto problem = Make(
        Spec(absl::StrCat(kResNet, "meta_examples: 100 weight_examples: 20 label_noise: ", noise)));
    const auto artifacts = problem->Artifacts();
    EXPECT_EQ(artifacts.at("noise_matrix").size(0), 100);
    EXPECT_EQ(artifacts.at("flipped_ids").numel() > 0, std::string(noise) != "NONE") << noise;
    const auto loss = problem->MemberLoss(*problem->TrainBatch(0), Lambda(*problem, at::kFloat));
    EXPECT_TRUE(loss.ok()) << loss.status();
  }
}

TEST_F(MetaWeightNetTest, DataThatDoNotFitTheJobAreRefused) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  ExpectRefused(Spec(kSmall), absl::StatusCode::kNotFound, {"train-images-idx3-ubyte"});
  WriteSmall();
  Make(Spec(kSmall));
  ExpectRefused(Spec("model: LENET classes: 5 meta_examples: 15 batch_size: 16 "
                     "validation_batch_size: 8"),
                invalid, {"meta_examples: 15 are 3 of each class, but class 4", "only 0 images"});
  ExpectRefused(Spec(absl::StrCat(kSmall, "meta_examples: 18")), invalid,
                {"problem.meta_weight_net.meta_examples: 18 cannot be shared equally by the 4"});
  ExpectRefused(Spec(absl::StrCat(kSmall, "meta_examples: 84")), invalid,
                {"84 are 21 of each class, but class 0", "only 20 images"});
  ExpectRefused(Spec(absl::StrCat(kSmall, "train_examples: 65")), invalid,
                {"train_examples: 65 is more than the 64 images"});
  Make(Spec(absl::StrCat(kSmall, "train_examples: 64 batch_size: 64")));
  ExpectRefused(Spec(absl::StrCat(kSmall, "batch_size: 65")), invalid,
                {"problem.meta_weight_net.batch_size: 65 is more than the 64 training images"});
  ExpectRefused(Spec(absl::StrCat(kSmall, "test_examples: 21")), invalid,
                {"test_examples: 21 is more than the 20 images"});
  ExpectRefused(Spec(absl::StrCat(kSmall, "label_noise: HIERARCHICAL")), invalid,
                {"problem.meta_weight_net.label_noise: HIERARCHICAL needs the coarse classes"});
  ExpectRefused(Spec(absl::StrCat(kSmall, "label_noise: ASYMMETRIC")), invalid,
                {"problem.meta_weight_net.label_noise: ASYMMETRIC is published for CIFAR-10"});
  ExpectRefused(
      Spec(absl::StrCat(kSmall, "data_format: CIFAR100 model: RESNET meta_examples: 100")),
      absl::StatusCode::kNotFound, {"train.bin"});
  WriteCifar10(3);
  ExpectRefused(Spec(kSmall), invalid, {"problem.meta_weight_net.data_format", "several formats"});
  Make(Spec(
      absl::StrCat(kResNet, "meta_examples: 20 data_format: CIFAR10 label_noise: ASYMMETRIC")));
  cancelled_ = true;
  ExpectRefused(Spec(absl::StrCat(kSmall, "data_format: IDX")), absl::StatusCode::kCancelled, {});
}

TEST_F(MetaWeightNetTest, LeNetTakesItsOwnSizeOnly) {
  WriteCifar10(3);
  ExpectRefused(
      Spec("model: LENET meta_examples: 20 batch_size: 16 validation_batch_size: 8"),
      absl::StatusCode::kInvalidArgument,
      {"problem.meta_weight_net.model: LENET takes grey images of 28 x 28", "3 channel(s)"});
  Make(Spec(absl::StrCat(kResNet, "meta_examples: 20")));
}

TEST_F(MetaWeightNetTest, ResNetTakesGreyPicturesAsTheyAre) {
  WriteSmall();
  const auto problem = Make(Spec(kResNet));
  EXPECT_EQ(problem->parameters().slots()[0].shape, (std::vector<int64_t>{16, 1, 3, 3}));
  EXPECT_TRUE(problem->MemberLoss(*problem->TrainBatch(0), Lambda(*problem, at::kFloat)).ok());
}

}  // namespace
}  // namespace evograd
