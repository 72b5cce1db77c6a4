// Goal: batches, losses, gradients, what members share and scores are as metaxl.h says, and data or
// encoders that do not fit are refused with their place. Method: a small encoder and sentences as
// files (worker/problems/testing/metaxl_folder.h), in float64; losses against the models driven by
// hand, gradients against difference quotients. PyTorch and transformers are compared with in
// tests/golden/metaxl_test.py.
#include "worker/problems/metaxl.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "worker/data/bio.h"
#include "worker/data/safetensors_writer.h"
#include "worker/models/representation_transformation.h"
#include "worker/models/xlmr_config.h"
#include "worker/models/xlmr_encoder.h"
#include "worker/problems/testing/metaxl_folder.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

std::atomic<bool> cancelled{false};

std::string TestName() { return testing::UnitTest::GetInstance()->current_test_info()->name(); }

// A problem with its storage bound and initialised.
struct Bound {
  Bound(const v1::JobSpec& spec) {
    auto made = MakeMetaXl(spec, "cpu", cancelled);
    EXPECT_TRUE(made.ok()) << made.status();
    if (!made.ok()) return;
    problem = *std::move(made);
    type = spec.data_type() == v1::FLOAT64 ? at::kDouble : at::kFloat;
    theta = at::zeros({problem->parameters().elements()}, type);
    problem->Bind(theta, at::zeros({problem->buffers().elements()}, type));
    const absl::Status status = problem->Initialise(9);
    EXPECT_TRUE(status.ok()) << status;
    const std::vector<double> values = problem->initial_hyperparameters();
    lambda = at::tensor(values, at::kDouble).to(type);
  }

  at::Tensor Parameter(const std::string& name) const {
    for (const TensorSlot& slot : problem->parameters().slots()) {
      if (slot.name == name) return theta.narrow(0, slot.offset, slot.size).view(slot.shape);
    }
    ADD_FAILURE() << name;
    return {};
  }

  std::unique_ptr<Problem> problem;
  at::ScalarType type = at::kDouble;
  at::Tensor theta;
  at::Tensor lambda;
};

double LossOf(Bound& bound, const Batch& batch) {
  at::manual_seed(1);
  const auto loss = bound.problem->MemberLoss(batch, bound.lambda);
  EXPECT_TRUE(loss.ok()) << loss.status();
  return loss.ok() ? *loss : 0;
}

TEST(MetaXlTest, BatchesAreCutAsPublished) {
  const MetaXlFolder folder(TestName());
  Bound bound(folder.Spec());
  const Batch train = *bound.problem->TrainBatch(2);
  const Batch validation = *bound.problem->ValidationBatch(2);
  ASSERT_EQ(train.tensors.size(), 8u);
  ASSERT_EQ(validation.tensors.size(), 4u);
  EXPECT_EQ(train.tensors[0].size(0), 4);
  EXPECT_EQ(train.tensors[4].size(0), 2) << "the first half of the target batch";
  EXPECT_EQ(validation.tensors[0].size(0), 2) << "the second half";
  EXPECT_TRUE(train.tensors[0].equal(bound.problem->TrainBatch(2)->tensors[0]))
      << "a pure function";

  // Both halves make up the batch that joint training takes whole.
  Bound joint(folder.Spec("training: JOINT", "estimator { kind: NONE }"));
  const Batch whole = *joint.problem->TrainBatch(2);
  EXPECT_TRUE(whole.tensors[0].equal(train.tensors[0]));
  const auto row = [](const Batch& batch, size_t first, int64_t i) {
    return batch.tensors[first][i].masked_select(batch.tensors[first + 1][i]);
  };
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(row(whole, 4, i).equal(row(train, 4, i)));
    EXPECT_TRUE(row(whole, 4, 2 + i).equal(row(validation, 0, i)));
  }
  Bound alone(folder.Spec("training: TARGET_ONLY", "estimator { kind: NONE }"));
  const Batch target = *alone.problem->TrainBatch(2);
  ASSERT_EQ(target.tensors.size(), 4u);
  EXPECT_TRUE(target.tensors[0].equal(whole.tensors[4]));
}

TEST(MetaXlTest, LabelsStandAtFirstPieces) {
  const MetaXlFolder folder(TestName());
  // ka 4, "ka" within a word 5, lo 6 ...: <s> is 0, </s> 2, ids are pieces' numbers + 1.
  folder.Write("data/qu/train", "qu:kalo\tB-PER\nqu:mi\tO\n\nqu:nu\tI-LOC\n\n");
  Bound bound(
      folder.Spec("target_batch_size: 2 training: TARGET_ONLY", "estimator { kind: NONE }"));
  const Batch batch = *bound.problem->TrainBatch(0);
  const int64_t longer = batch.tensors[0][0][4].item<int64_t>() == 2 ? 0 : 1;
  EXPECT_TRUE(batch.tensors[0][longer].equal(at::tensor({0, 4, 7, 8, 2}, at::kLong)))
      << batch.tensors[0];
  EXPECT_TRUE(batch.tensors[0][1 - longer].equal(at::tensor({0, 10, 2, 1, 1}, at::kLong)));
  EXPECT_TRUE(
      batch.tensors[1][1 - longer].equal(at::tensor({1, 1, 1, 0, 0}, at::kLong).to(at::kBool)));
  EXPECT_TRUE(batch.tensors[2][longer].equal(at::tensor({-100, 3, -100, 0, -100}, at::kLong)));
  EXPECT_TRUE(
      batch.tensors[2][1 - longer].equal(at::tensor({-100, 8, -100, -100, -100}, at::kLong)));
  EXPECT_TRUE(batch.tensors[3].allclose(at::full({2}, 2.0 / 3, at::kDouble)));
}

// The loss of a batch's side by the models themselves, as PyTorch means a mean over labels.
class Twin {
 public:
  Twin(const MetaXlFolder& folder, const Bound& bound, int64_t labels) {
    config_ = *ParseXlmrConfig(folder.Read("encoder/config.json"), "config.json");
    encoder_ = std::make_shared<XlmrEncoder>(config_);
    encoder_->to(at::kDouble);
    const at::NoGradGuard no_grad;
    for (auto& item : encoder_->named_parameters()) {
      item.value().copy_(bound.Parameter("roberta." + item.key()));
    }
    head_ = std::make_shared<XlmrTokenHead>(config_, labels);
    head_->to(at::kDouble);
    for (auto& item : head_->named_parameters()) {
      item.value().copy_(bound.Parameter("classifier." + item.key()));
    }
    encoder_->eval();
    head_->eval();
  }

  at::Tensor Scores(const Batch& batch, size_t first, const at::Tensor& lambda, int64_t layer) {
    const at::NoGradGuard no_grad;
    const at::Tensor& mask = batch.tensors[first + 1];
    at::Tensor hidden = encoder_->Embed(batch.tensors[first]);
    if (lambda.defined()) {
      hidden = encoder_->RunLayers(hidden, mask, 0, layer);
      hidden = RepresentationTransformation(config_.hidden_size, 3).Forward(hidden, lambda);
      hidden = encoder_->RunLayers(hidden, mask, layer, config_.num_hidden_layers);
    } else {
      hidden = encoder_->RunLayers(hidden, mask, 0, config_.num_hidden_layers);
    }
    return head_->Forward(hidden);
  }

  double Loss(const Batch& batch, size_t first, const at::Tensor& lambda, int64_t layer) {
    return at::cross_entropy_loss(Scores(batch, first, lambda, layer).flatten(0, 1),
                                  batch.tensors[first + 2].flatten())
        .item<double>();
  }

 private:
  XlmrConfig config_;
  std::shared_ptr<XlmrEncoder> encoder_;
  std::shared_ptr<XlmrTokenHead> head_;
};

TEST(MetaXlTest, LossesAreTheTwins) {
  const MetaXlFolder folder(TestName());
  std::set<double> different;
  for (const int layer : {0, 1, 2}) {
    Bound bound(folder.Spec(absl::StrCat("transformed_layer: ", layer)));
    Twin twin(folder, bound, 9);
    const Batch train = *bound.problem->TrainBatch(1);
    const double expected = twin.Loss(train, 0, bound.lambda, layer) + twin.Loss(train, 4, {}, 0);
    EXPECT_NEAR(LossOf(bound, train), expected, 1e-12);
    different.insert(expected);
    const Batch validation = *bound.problem->ValidationBatch(1);
    const auto loss = bound.problem->ValidationGradient(validation, at::zeros_like(bound.theta));
    ASSERT_TRUE(loss.ok()) << loss.status();
    EXPECT_NEAR(*loss, twin.Loss(validation, 0, {}, 0), 1e-12);
  }
  EXPECT_EQ(different.size(), 3u) << "the layer matters";

  Bound joint(folder.Spec("training: JOINT", "estimator { kind: NONE }"));
  Twin twin(folder, joint, 9);
  const Batch train = *joint.problem->TrainBatch(1);
  EXPECT_NEAR(LossOf(joint, train), twin.Loss(train, 0, {}, 0) + twin.Loss(train, 4, {}, 0), 1e-12);
  EXPECT_TRUE(joint.problem->initial_hyperparameters().empty());
  EXPECT_TRUE(joint.problem->hyperparameter_names().empty());
}

TEST(MetaXlTest, ShardsMakeUpTheBatch) {
  const MetaXlFolder folder(TestName());
  for (const char* task : {"", "task: CLASSIFICATION"}) {
    Bound bound(folder.Spec(task));
    const Batch batch = *bound.problem->TrainBatch(0);
    double sum = 0;
    for (int shard = 0; shard < 2; ++shard) {
      sum += LossOf(bound, *bound.problem->Shard(batch, shard, 2));
    }
    EXPECT_NEAR(sum / 2, LossOf(bound, batch), 1e-12);
  }
}

// What members are perturbed in, and where the transformation stands.
const char* const kCuts[] = {
    "",
    "transformed_layer: 1",
    "transformed_layer: 0",
    "perturbed: ENCODER_TOP",
    "perturbed: ENCODER_TOP transformed_layer: 0",
    "perturbed: ENCODER_TOP perturbed_layers: 2 transformed_layer: 1",
    "perturbed: ALL",
    "task: CLASSIFICATION",
    "task: CLASSIFICATION transformed_layer: 1",
};

TEST(MetaXlTest, WhatMembersShareChangesNoNumber) {
  const MetaXlFolder folder(TestName());
  for (const char* cut : kCuts) {
    Bound bound(folder.Spec(cut));
    const Batch batch = *bound.problem->TrainBatch(0);
    const auto prepared = bound.problem->PrepareMembers(batch, bound.lambda);
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    const bool all = absl::StrContains(cut, "ALL");
    for (const size_t side : {0, 4}) {
      EXPECT_EQ(prepared->tensors[side].is_floating_point(), !all) << cut;
    }
    // A member: what is perturbed moves, what is not stays where it was prepared.
    for (const TensorSlot& slot : bound.problem->parameters().slots()) {
      if (slot.perturbed) bound.theta.narrow(0, slot.offset, slot.size).add_(0.05);
    }
    const auto plain = bound.problem->MemberGradient(batch, bound.lambda);
    const auto shared = bound.problem->MemberGradient(*prepared, bound.lambda);
    ASSERT_TRUE(plain.ok() && shared.ok()) << plain.status() << shared.status();
    EXPECT_NEAR(shared->loss, plain->loss, 1e-12) << cut;
    EXPECT_TRUE(shared->hypergradient.allclose(plain->hypergradient, 1e-9, 1e-13)) << cut;
    EXPECT_GT(plain->hypergradient.abs().max().item<double>(), 1e-6) << cut;
  }
}

TEST(MetaXlTest, ThePerturbedPartIsTheJobs) {
  const MetaXlFolder folder(TestName());
  const auto perturbed = [&](const char* fields) {
    Bound bound(folder.Spec(fields));
    std::set<std::string> names;
    for (const TensorSlot& slot : bound.problem->parameters().slots()) {
      if (slot.perturbed) names.insert(slot.name);
    }
    return names;
  };
  EXPECT_EQ(perturbed(""), (std::set<std::string>{"classifier.bias", "classifier.weight"}));
  EXPECT_EQ(perturbed("task: CLASSIFICATION"),
            (std::set<std::string>{"classifier.dense.bias", "classifier.dense.weight",
                                   "classifier.out_proj.bias", "classifier.out_proj.weight"}));
  const std::set<std::string> top = perturbed("perturbed: ENCODER_TOP");
  EXPECT_EQ(top.count("classifier.bias"), 1u);
  EXPECT_EQ(top.count("roberta.encoder.layer.1.output.dense.weight"), 1u);
  EXPECT_EQ(top.count("roberta.encoder.layer.0.output.dense.weight"), 0u);
  EXPECT_EQ(top.count("roberta.embeddings.word_embeddings.weight"), 0u);
  EXPECT_EQ(perturbed("perturbed: ALL").count("roberta.embeddings.word_embeddings.weight"), 1u);
}

TEST(MetaXlTest, ThePublishedPerturbedPartHas6921Numbers) {
  XlmrConfig config;
  config.hidden_size = 768;
  int64_t count = 0;
  for (const auto& parameter : XlmrTokenHead(config, TagSet::Conll().size()).parameters()) {
    count += parameter.numel();
  }
  EXPECT_EQ(count, 6921);
}

TEST(MetaXlTest, NoiseRepeatsWithTheGeneratorBitForBit) {
  const MetaXlFolder folder(TestName(), /*dropout=*/0.3);
  Bound bound(folder.Spec("transformed_layer: 1"));
  const Batch batch = *bound.problem->TrainBatch(0);
  const auto prepare = [&](uint64_t seed) {
    at::manual_seed(seed);
    return *bound.problem->PrepareMembers(batch, bound.lambda);
  };
  const Batch prepared = prepare(5);
  EXPECT_TRUE(prepared.tensors[0].equal(prepare(5).tensors[0]));
  EXPECT_FALSE(prepared.tensors[0].equal(prepare(6).tensors[0])) << "dropout draws";
  const auto member = [&](uint64_t seed) {
    at::manual_seed(seed);
    return *bound.problem->MemberLoss(prepared, bound.lambda);
  };
  EXPECT_EQ(member(7), member(7));
  EXPECT_NE(member(7), member(8)) << "members draw their own";
  const double first = member(7);
  at::manual_seed(7);
  const double again = bound.problem->MemberGradient(prepared, bound.lambda)->loss;
  EXPECT_EQ(again, first) << "a recomputed forward repeats the first";

  const Batch validation = *bound.problem->ValidationBatch(0);
  const auto validate = [&](Bound& b, uint64_t seed) {
    at::manual_seed(seed);
    return *b.problem->ValidationGradient(validation, at::zeros_like(b.theta));
  };
  EXPECT_NE(validate(bound, 1), validate(bound, 2)) << "as published";
  Bound quiet(folder.Spec("validation_dropout: false"));
  EXPECT_EQ(validate(quiet, 1), validate(quiet, 2));
}

TEST(MetaXlTest, AnotherWorkerComputesTheSameBits) {
  const MetaXlFolder folder(TestName(), /*dropout=*/0.2);
  for (const char* type : {"FLOAT32", "FLOAT64"}) {
    const v1::JobSpec spec =
        folder.Spec("perturbed: ENCODER_TOP", absl::StrCat("data_type: ", type));
    Bound here(spec);
    Bound there(spec);
    EXPECT_TRUE(here.theta.equal(there.theta));
    EXPECT_TRUE(here.lambda.equal(there.lambda));
    const auto run = [](Bound& worker) {
      at::manual_seed(3);
      const Batch batch = *worker.problem->TrainBatch(4);
      const Batch prepared = *worker.problem->PrepareMembers(batch, worker.lambda);
      const auto member = *worker.problem->MemberGradient(prepared, worker.lambda);
      const at::Tensor gradient = at::zeros_like(worker.theta);
      const auto trained = *worker.problem->TrainGradient(batch, worker.lambda, gradient, true);
      return std::vector<at::Tensor>{member.hypergradient, trained.hypergradient, gradient};
    };
    const std::vector<at::Tensor> first = run(here);
    const std::vector<at::Tensor> second = run(there);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i].equal(second[i])) << type << i;
  }
}

TEST(MetaXlTest, GradientsAreDifferenceQuotients) {
  const MetaXlFolder folder(TestName());
  constexpr double kStep = 1e-5;
  for (const char* cut : {"", "task: CLASSIFICATION transformed_layer: 1"}) {
    Bound bound(folder.Spec(cut));
    const Batch batch = *bound.problem->TrainBatch(0);
    at::manual_seed(11);
    const at::Tensor to_lambda = at::randn_like(bound.lambda);
    // Padding between tensors stays zero.
    at::Tensor to_theta = at::zeros_like(bound.theta);
    for (const TensorSlot& slot : bound.problem->parameters().slots()) {
      if (slot.perturbed) to_theta.narrow(0, slot.offset, slot.size).normal_();
    }
    const auto loss_at = [&](double lambda_step) {
      return *bound.problem->MemberLoss(batch, bound.lambda + lambda_step * to_lambda);
    };
    const double quotient = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    const auto member = bound.problem->MemberGradient(batch, bound.lambda);
    ASSERT_TRUE(member.ok()) << member.status();
    EXPECT_NEAR(member->hypergradient.dot(to_lambda).item<double>(), quotient, 1e-7) << cut;

    // Exact second order: the gradient to lambda, differentiated along theta. The head has no
    // detached input on its way, so the order of differentiation does not matter.
    const auto cross = bound.problem->CrossGradient(batch, bound.lambda, to_theta);
    ASSERT_TRUE(cross.ok()) << cross.status();
    const auto gradient_at = [&](double step) {
      const at::Tensor before = bound.theta.clone();
      bound.theta.add_(to_theta, step);
      const at::Tensor gradient = bound.problem->MemberGradient(batch, bound.lambda)->hypergradient;
      bound.theta.copy_(before);
      return gradient;
    };
    const at::Tensor difference = (gradient_at(kStep) - gradient_at(-kStep)) / (2 * kStep);
    EXPECT_TRUE(cross->allclose(difference, 1e-5, 1e-8)) << cut;
    EXPECT_GT(cross->abs().max().item<double>(), 1e-5) << cut;
  }
}

TEST(MetaXlTest, SubsetsAreDrawnByTheDataSeed) {
  const MetaXlFolder folder(TestName());
  const auto ids = [&](const std::string& fields) {
    Bound bound(folder.Spec(absl::StrCat("target_train_size: 4 source_train_size: 5 ", fields)));
    std::set<std::string> rows;
    for (int64_t step = 0; step < 5; ++step) {
      const Batch batch = *bound.problem->TrainBatch(step);
      for (int64_t i = 0; i < 4; ++i) {
        rows.insert(absl::StrCat(
            batch.tensors[0][i].masked_select(batch.tensors[1][i]).sum().item<int64_t>(), ":",
            batch.tensors[0][i].masked_select(batch.tensors[1][i]).square().sum().item<int64_t>()));
      }
    }
    return rows;
  };
  const std::set<std::string> rows = ids("");
  EXPECT_LE(rows.size(), 5u);
  EXPECT_GE(rows.size(), 3u);
  EXPECT_EQ(rows, ids(""));
  EXPECT_NE(rows, ids("data_seed: 1"));
}

TEST(MetaXlTest, MetricsAreTheTwins) {
  const MetaXlFolder folder(TestName());
  Bound bound(folder.Spec("evaluation_batch_size: 3 reported_types: 'LOC'"));
  // Bring the head off its first, small weights, so that tags differ.
  bound.Parameter("classifier.weight").mul_(5);
  const auto evaluation = bound.problem->Evaluate(bound.lambda);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  const auto& metrics = evaluation->metrics;
  for (const char* set : {"target_dev", "target_test", "source_dev"}) {
    for (const char* what : {"f1", "precision", "recall", "loss", "f1_reported"}) {
      EXPECT_EQ(metrics.count(absl::StrCat(set, "_", what)), 1u) << set << what;
    }
  }
  EXPECT_EQ(metrics.count("target_test_f1_per"), 1u);
  EXPECT_EQ(metrics.count("target_test_f1_org"), 0u) << "does not occur";
  // The dev file as a training file: a batch of all of it gives the mean loss over its words.
  folder.Write("data/qu/train", folder.Read("data/qu/dev"));
  Bound dev(folder.Spec("target_batch_size: 4 training: TARGET_ONLY", "estimator { kind: NONE }"));
  dev.theta.copy_(bound.theta);
  Twin twin(folder, bound, 9);
  double loss = 0;
  double words = 0;
  // Batches of 4 over 5 sentences: after 5 steps each stood there 4 times.
  for (int64_t step = 0; step < 5; ++step) {
    const Batch batch = *dev.problem->TrainBatch(step);
    const double count = batch.tensors[2].ne(-100).sum().item<double>();
    loss += twin.Loss(batch, 0, {}, 0) * count;
    words += count;
  }
  EXPECT_NEAR(metrics.at("target_dev_loss"), loss / words, 1e-10);
  cancelled = true;
  EXPECT_EQ(bound.problem->Evaluate(bound.lambda).status().code(), absl::StatusCode::kCancelled);
  cancelled = false;
}

TEST(MetaXlTest, AHeadThatKnowsTheTagsScoresOne) {
  const MetaXlFolder folder(TestName());
  // One word a sentence, whose tag is always the same.
  for (const char* file : {"data/qu/dev", "data/qu/test"}) {
    folder.Write(file, "qu:ka\tB-PER\n\nqu:lo\tB-PER\n\n");
  }
  Bound bound(folder.Spec());
  bound.Parameter("classifier.weight").zero_();
  bound.Parameter("classifier.bias").zero_();
  bound.Parameter("classifier.bias")[3] = 5;
  auto evaluation = *bound.problem->Evaluate(bound.lambda);
  EXPECT_EQ(evaluation.metrics.at("target_test_f1"), 1);
  EXPECT_EQ(evaluation.metrics.at("target_dev_f1"), 1);
  EXPECT_EQ(evaluation.metrics.at("target_test_f1_per"), 1);
  EXPECT_LT(evaluation.metrics.at("source_dev_f1"), 0.6);
  EXPECT_TRUE(evaluation.warnings.empty());
  bound.Parameter("classifier.bias")[0] = 9;
  evaluation = *bound.problem->Evaluate(bound.lambda);
  EXPECT_EQ(evaluation.metrics.at("target_test_f1"), 0);
  ASSERT_FALSE(evaluation.warnings.empty());
  EXPECT_THAT(evaluation.warnings[0], HasSubstr("target_dev: not one span"));
}

TEST(MetaXlTest, TextsAreClassified) {
  const MetaXlFolder folder(TestName());
  Bound bound(folder.Spec("task: CLASSIFICATION"));
  const Batch train = *bound.problem->TrainBatch(0);
  EXPECT_EQ(train.tensors[2].dim(), 1);
  EXPECT_TRUE(train.tensors[3].equal(at::ones({4}, at::kDouble)));
  bound.Parameter("classifier.out_proj.weight").zero_();
  bound.Parameter("classifier.out_proj.bias")[0] = 5;  // bad
  const auto evaluation = *bound.problem->Evaluate(bound.lambda);
  double bad = 0;
  const std::string dev = folder.Read("texts/qu/dev.tsv");
  for (size_t at = dev.find("\nbad"); at != std::string::npos; at = dev.find("\nbad", at + 1))
    ++bad;
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("target_dev_accuracy"), bad / 5);
  EXPECT_LT(evaluation.metrics.at("target_dev_macro_f1"), 0.6);
  ASSERT_FALSE(evaluation.warnings.empty());
  EXPECT_THAT(evaluation.warnings[0], HasSubstr("the same label"));
}

TEST(MetaXlTest, WeightsAreTheFiles) {
  const MetaXlFolder folder(TestName());
  Bound random(folder.Spec());
  v1::JobSpec spec = folder.Spec();
  spec.mutable_problem()->mutable_metaxl()->set_random_encoder(false);
  // The same encoder as a file of a whole model.
  const auto write = [&](const std::string& left_out) {
    SafetensorsWriter writer;
    for (const TensorSlot& slot : random.problem->parameters().slots()) {
      if (!absl::StartsWith(slot.name, "roberta.") || slot.name == left_out) continue;
      const at::Tensor values = (random.Parameter(slot.name) + 1).contiguous();
      writer.Add(slot.name, "F64", slot.shape,
                 {static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
    }
    return writer.Write(folder.path() + "/encoder/model.safetensors");
  };
  ASSERT_TRUE(write("").ok());
  Bound loaded(spec);
  const std::string name = "roberta.encoder.layer.1.output.dense.weight";
  EXPECT_TRUE(loaded.Parameter(name).equal(random.Parameter(name) + 1));
  EXPECT_TRUE(loaded.Parameter("classifier.weight").equal(random.Parameter("classifier.weight")));

  ASSERT_TRUE(write(name).ok());
  absl::Status status = loaded.problem->Initialise(9);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("encoder.layer.1.output.dense.weight"));
  EXPECT_EQ(remove((folder.path() + "/encoder/model.safetensors").c_str()), 0);
  status = loaded.problem->Initialise(9);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

class BadDataTest : public testing::Test {
 protected:
  BadDataTest() : folder_(TestName()) {}

  absl::Status Make(const std::string& fields = "") {
    return MakeMetaXl(folder_.Spec(fields), "cpu", cancelled).status();
  }
  void ExpectRefused(absl::StatusCode code, const std::vector<std::string>& parts,
                     const std::string& fields = "") {
    const absl::Status status = Make(fields);
    EXPECT_EQ(status.code(), code) << status;
    for (const std::string& part : parts) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(part));
    }
  }

  MetaXlFolder folder_;
};

TEST_F(BadDataTest, SizesThatFilesDoNotHave) {
  EXPECT_TRUE(Make("source_train_size: 32 target_train_size: 10").ok());
  ExpectRefused(
      absl::StatusCode::kInvalidArgument,
      {"source_train_size: 33 is more than the 32 sentences", "/en/train to ", "/de/train"},
      "source_train_size: 33");
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                {"target_train_size: 11 is more than the 10", "/qu/train"},
                "target_train_size: 11");
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"target_batch_size: 12 is more than the 10"},
                "target_batch_size: 12");
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"batch_size: 40 is more than the 32"},
                "batch_size: 40");
}

TEST_F(BadDataTest, LanguagesLabelsAndTags) {
  EXPECT_TRUE(Make().ok());
  ExpectRefused(absl::StatusCode::kNotFound, {"/data/fr", "no such folder for language fr"},
                "source_languages: 'fr'");
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"there is no type CITY", "CoNLL"},
                "reported_types: 'CITY'");
  ExpectRefused(absl::StatusCode::kDataLoss,
                {"/data/en/train:", "there is no tag ", "the labels are O, B-PER, I-PER"},
                "labels: 'O' labels: 'B-PER' labels: 'I-PER'");
  folder_.Write("data/labels.txt", "O\nB-PER\nB-LOC\nI-LOC\n");
  EXPECT_TRUE(Make().ok());
  folder_.Write("data/labels.txt", "B-PER\nB-LOC\nI-LOC\n");
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"/data/labels.txt: O, the tag"});
  folder_.Write("data/labels.txt", "O\nB-PER\nB-LOC\nI-LOC\n");
  folder_.Write("data/qu/test", "qu:ka\tO\nqu:lo\tB-CITY\n");
  ExpectRefused(absl::StatusCode::kDataLoss, {"/data/qu/test:2: there is no tag B-CITY"});
  folder_.Write("texts/labels.txt", "bad\n");
  ExpectRefused(absl::StatusCode::kDataLoss, {".tsv:", "there is no label `good`"},
                "task: CLASSIFICATION");
}

TEST_F(BadDataTest, SentencesLongerThanTheLimit) {
  std::string words;
  for (int i = 0; i < 9; ++i) words += "qu:kalo\tB-PER\n";
  folder_.Write("data/qu/train", words + "\n" + words + "\nqu:ka\tO\n\nqu:lo\tO\n");
  EXPECT_TRUE(Make("max_sequence_length: 20").ok()) << "9 words of 2 pieces and 2 special ones";
  EXPECT_TRUE(Make("max_sequence_length: 19").ok()) << "the last word keeps its first piece";
  ExpectRefused(absl::StatusCode::kDataLoss,
                {"/data/qu/train:1: ", "20 pieces", "more than the 18 of max_sequence_length",
                 "overlong to TRUNCATE"},
                "max_sequence_length: 18");
  EXPECT_TRUE(Make("max_sequence_length: 18 overlong: TRUNCATE").ok());
  // The encoder has 24 places.
  for (int i = 0; i < 3; ++i) words += "qu:kalo\tB-PER\n";
  folder_.Write("data/qu/test", words);
  ExpectRefused(absl::StatusCode::kDataLoss,
                {"/data/qu/test:1: ", "26 pieces", "or of the encoder"});
  EXPECT_TRUE(Make("overlong: TRUNCATE").ok());
  ExpectRefused(absl::StatusCode::kDataLoss, {"/texts/", ".tsv:", "pieces"},
                "task: CLASSIFICATION max_sequence_length: 3");
}

TEST_F(BadDataTest, WordsThatTruncationLosesCountAsMissed) {
  folder_.Write("data/qu/test", "qu:kalo\tB-PER\nqu:kalo\tB-PER\nqu:kalo\tB-PER\nqu:kalo\tB-PER\n");
  Bound bound(folder_.Spec("evaluation_max_sequence_length: 6 overlong: TRUNCATE"));
  bound.Parameter("classifier.weight").zero_();
  bound.Parameter("classifier.bias").zero_();
  bound.Parameter("classifier.bias")[3] = 5;
  const auto evaluation = *bound.problem->Evaluate(bound.lambda);
  EXPECT_EQ(evaluation.metrics.at("target_test_precision"), 1);
  EXPECT_EQ(evaluation.metrics.at("target_test_recall"), 0.5);
}

TEST_F(BadDataTest, Encoders) {
  EXPECT_TRUE(Make().ok());
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"transformed_layer: 3", "2 layers"},
                "transformed_layer: 3");
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"perturbed_layers: 3", "2 layers"},
                "perturbed: ENCODER_TOP perturbed_layers: 3");
  folder_.Write("encoder/config.json", MetaXlFolder::Config(0, MetaXlFolder::Vocabulary() - 1));
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                {"/encoder: sentencepiece.bpe.model makes ids up to", "do not belong together"});
  folder_.Write("encoder/config.json", "{}");
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"/encoder/config.json"});
  folder_.Write("encoder/config.json", MetaXlFolder::Config(0, MetaXlFolder::Vocabulary()));
  folder_.Write("encoder/sentencepiece.bpe.model", "no model");
  ExpectRefused(absl::StatusCode::kDataLoss, {"/encoder/sentencepiece.bpe.model"});
  EXPECT_EQ(remove((folder_.path() + "/encoder/sentencepiece.bpe.model").c_str()), 0);
  ExpectRefused(absl::StatusCode::kNotFound, {"/encoder/sentencepiece.bpe.model"});
}

TEST_F(BadDataTest, CancelledReading) {
  cancelled = true;
  EXPECT_EQ(Make().code(), absl::StatusCode::kCancelled);
  cancelled = false;
}

}  // namespace
}  // namespace evograd
