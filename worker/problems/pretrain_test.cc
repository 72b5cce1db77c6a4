// Goal: pretrain deals the pictures of all domains to training and held-out ones, computes the loss
// and the scores of a classifier, and its weights are what an lft job loads; files that do not fit
// are refused. Method: generated pictures; a backbone and a linear layer that are driven by hand;
// safetensors files with one thing wrong.
#include "worker/problems/pretrain.h"

#include <ATen/ATen.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "spec/resolve.h"
#include "worker/data/image_list.h"
#include "worker/data/image_loader.h"
#include "worker/data/safetensors_writer.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/models/classifier_head.h"
#include "worker/models/initialisation.h"
#include "worker/problems/job_backbone.h"
#include "worker/problems/testing/picture_domains.h"

namespace evograd {
namespace {

constexpr int kExtent = 20;
constexpr uint64_t kSeed = 9;

class PretrainTest : public FolderFixture {
 protected:
  PretrainTest() { WritePictureDomains(folder_, {{"r", 3, 5}, {"g", 2, 5}, {"one", 1, 5}}); }

  v1::JobSpec Spec(const std::string& domains, const std::string& problem = "") {
    v1::JobSpec spec;
    const std::string text = absl::StrCat(
        "steps: 40 seed: 5 data_type: FLOAT64 estimator { kind: NONE } problem { pretrain { "
        "data_dir: '",
        folder_, "' domains: [", domains, "] backbone: CONV4 image_extent: ", kExtent,
        " batch_size: 4 ", problem, " } }");
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
    for (const FieldViolation& violation : Resolve(&spec)) {
      ADD_FAILURE() << violation.field << ": " << violation.description;
    }
    return spec;
  }

  void Make(const v1::JobSpec& spec) {
    auto made = MakePretrain(spec, "cpu", cancelled_);
    ASSERT_TRUE(made.ok()) << made.status();
    problem_ = *std::move(made);
    parameters_ = at::zeros({problem_->parameters().elements()}, at::kDouble);
    buffers_ = at::zeros({problem_->buffers().elements()}, at::kDouble);
    problem_->Bind(parameters_, buffers_);
    ASSERT_TRUE(problem_->Initialise(kSeed).ok());
  }

  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Problem> problem_;
  at::Tensor parameters_;
  at::Tensor buffers_;
};

// The same network, built and begun by hand.
struct Twin {
  explicit Twin(int64_t classes)
      : feature(whole.register_module("feature", MakeBackbone(BackboneKind::kConv4))),
        classifier(
            whole.register_module("classifier", std::make_shared<ClassifierHead>(64, 0, classes))) {
    whole.to(at::kDouble);
    InitialiseWeights(kSeed, &whole);
  }

  at::Tensor Logits(const at::Tensor& images, bool training) {
    const at::NoGradGuard no_grad;
    FeaturePass pass;
    pass.training = training;
    return classifier->Forward(feature->Forward(images, pass));
  }

  torch::nn::Module whole;
  std::shared_ptr<Backbone> feature;
  std::shared_ptr<ClassifierHead> classifier;
};

// Which of red, green and blue dominates, in pixels as they were before the normalisation.
int ColourOf(const at::Tensor& images) {
  const at::Tensor means = images.mean({0, 2, 3});
  const at::Tensor pixels = means * at::tensor({0.229, 0.224, 0.225}, means.options()) +
                            at::tensor({0.485, 0.456, 0.406}, means.options());
  return static_cast<int>(pixels.argmax().item<int64_t>());
}

TEST_F(PretrainTest, LossesAndBatchesAreThoseOfPlainTraining) {
  Make(Spec("'r', 'g'"));
  EXPECT_TRUE(problem_->hyperparameter_names().empty());
  EXPECT_TRUE(problem_->initial_hyperparameters().empty());
  std::map<int64_t, int> seen;
  // 25 pictures of which each of five classes keeps one back: five batches are an epoch.
  for (int64_t step = 0; step < 5; ++step) {
    const auto batch = problem_->TrainBatch(step);
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_EQ(batch->tensors[0].sizes().vec(), (std::vector<int64_t>{4, 3, kExtent, kExtent}));
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t of = batch->tensors[1][i].item<int64_t>();
      ++seen[of];
      // Classes 0 to 2 are red ones, 3 and 4 green ones.
      EXPECT_EQ(ColourOf(batch->tensors[0].narrow(0, i, 1)), of < 3 ? 0 : 1);
    }
  }
  EXPECT_EQ(seen, (std::map<int64_t, int>{{0, 4}, {1, 4}, {2, 4}, {3, 4}, {4, 4}}));
  EXPECT_TRUE(problem_->TrainBatch(2)->tensors[0].equal(problem_->TrainBatch(2)->tensors[0]));

  const Batch batch = *problem_->TrainBatch(1);
  const at::Tensor lambda = at::zeros({0}, at::kDouble);
  const auto loss = problem_->TrainGradient(batch, lambda, at::zeros_like(parameters_), false);
  ASSERT_TRUE(loss.ok()) << loss.status();
  Twin twin(5);
  EXPECT_NEAR(
      loss->loss,
      at::cross_entropy_loss(twin.Logits(batch.tensors[0], true), batch.tensors[1]).item<double>(),
      1e-12);
}

TEST_F(PretrainTest, HeldOutPicturesAreScored) {
  // Without any held out, the pictures of training are scored: all of the lists.
  Make(Spec("'r', 'g'", "held_out_share: 0"));
  Twin twin(5);
  ImageLoader loader({kExtent, 1}, cancelled_);
  double right = 0;
  double loss = 0;
  int64_t first_class = 0;
  for (const char* domain : {"r", "g"}) {
    const auto list = ReadImageList(absl::StrCat(folder_, "/", domain, "/base.json"));
    ASSERT_TRUE(list.ok()) << list.status();
    for (size_t i = 0; i < list->images.size(); ++i) {
      const auto image = loader.Load({{list->images[i], {}}});
      ASSERT_TRUE(image.ok()) << image.status();
      const at::Tensor label = at::full({1}, first_class + list->classes_of[i], at::kLong);
      const at::Tensor logits = twin.Logits(image->to(at::kDouble), false);
      right += logits.argmax(1).eq(label).item<bool>();
      loss += at::cross_entropy_loss(logits, label).item<double>();
    }
    first_class += static_cast<int64_t>(list->classes.size());
  }
  const at::Tensor lambda = at::zeros({0}, at::kDouble);
  const auto all = problem_->Evaluate(lambda);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_NEAR(all->metrics.at("accuracy"), right / 25, 1e-12);
  EXPECT_NEAR(all->metrics.at("loss"), loss / 25, 1e-12);

  // Three of each five: the share of ten pictures.
  Make(Spec("'g'", "held_out_share: 0.6"));
  const auto held_out = problem_->Evaluate(lambda);
  ASSERT_TRUE(held_out.ok()) << held_out.status();
  const double sixths = held_out->metrics.at("accuracy") * 6;
  EXPECT_NEAR(sixths, std::round(sixths), 1e-9);
  cancelled_ = true;
  EXPECT_EQ(problem_->Evaluate(lambda).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(PretrainTest, AMissingPictureIsFoundBeforeTheFirstStep) {
  ASSERT_TRUE(MakePretrain(Spec("'r', 'g'"), "cpu", cancelled_).ok());
  const std::string path = folder_ + "/g/base_1_4.png";
  std::remove(path.c_str());
  ExpectStatus(MakePretrain(Spec("'r', 'g'"), "cpu", cancelled_).status(),
               absl::StatusCode::kNotFound, {path, "g/base.json lists it"});
  EXPECT_TRUE(MakePretrain(Spec("'r', 'one'"), "cpu", cancelled_).ok());
}

TEST_F(PretrainTest, OneClassIsNothingToTellApart) {
  EXPECT_TRUE(MakePretrain(Spec("'one', 'g'"), "cpu", cancelled_).ok());
  const absl::Status status = MakePretrain(Spec("'one'"), "cpu", cancelled_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "one/base.json")) << status;
}

using Tensors = std::map<std::string, at::Tensor>;

// As a pretrain job's checkpoint names them.
Tensors CheckpointOf(uint64_t seed) {
  torch::nn::Module whole;
  whole.register_module("feature", MakeBackbone(BackboneKind::kConv4));
  whole.register_module("classifier", std::make_shared<ClassifierHead>(64, 0, 5));
  InitialiseWeights(seed, &whole);
  Tensors tensors;
  for (const auto& item : whole.named_parameters()) {
    tensors["parameters." + item.key()] = item.value().detach();
  }
  for (const auto& item : whole.named_buffers()) {
    tensors["buffers." + item.key()] = item.value() + 0.25;
  }
  return tensors;
}

std::string WriteTensors(const std::string& name, const Tensors& tensors) {
  SafetensorsWriter writer;
  for (const auto& [key, tensor] : tensors) {
    const at::Tensor whole = tensor.contiguous();
    writer.Add(key, "F32", whole.sizes().vec(),
               {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
  }
  const std::string path = absl::StrCat(testing::TempDir(), "/", name, ".safetensors");
  EXPECT_TRUE(writer.Write(path).ok());
  return path;
}

void ExpectLoads(const std::string& path, uint64_t seed) {
  const std::shared_ptr<Backbone> net = MakeBackbone(BackboneKind::kConv4);
  const absl::Status status = LoadPretrained(path, net.get());
  ASSERT_TRUE(status.ok()) << status;
  const Tensors expected = CheckpointOf(seed);
  for (const auto& item : net->named_parameters()) {
    EXPECT_TRUE(item.value().equal(expected.at("parameters.feature." + item.key()))) << item.key();
  }
  for (const auto& item : net->named_buffers()) {
    EXPECT_TRUE(item.value().equal(expected.at("buffers.feature." + item.key()))) << item.key();
  }
}

TEST(LoadPretrainedTest, ReadsCheckpointsAndPlainNames) {
  ExpectLoads(WriteTensors("checkpoint", CheckpointOf(3)), 3);
  Tensors plain;
  for (const auto& [name, tensor] : CheckpointOf(4)) {
    plain[name.substr(name.find('.') + 1)] = tensor;
  }
  // Counters of batches, as PyTorch's batch normalisation has them.
  plain["feature.trunk.0.BN.num_batches_tracked"] = at::ones({1});
  ExpectLoads(WriteTensors("plain", plain), 4);
}

TEST(LoadPretrainedTest, TensorsThatDoNotFitAreNamed) {
  const auto refusal = [](const std::string& name, const Tensors& tensors) {
    const std::shared_ptr<Backbone> net = MakeBackbone(BackboneKind::kConv4);
    const absl::Status status = LoadPretrained(WriteTensors(name, tensors), net.get());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status << " names the file";
    return std::string(status.message());
  };
  Tensors missing = CheckpointOf(3);
  missing.erase("parameters.feature.trunk.2.C.weight");
  EXPECT_TRUE(absl::StrContains(refusal("missing", missing), "trunk.2.C.weight"));
  Tensors extra = CheckpointOf(3);
  extra["parameters.feature.trunk.4.C.weight"] = at::ones({2});
  EXPECT_TRUE(absl::StrContains(refusal("extra", extra), "trunk.4.C.weight"));
  Tensors shaped = CheckpointOf(3);
  shaped["buffers.feature.trunk.1.BN.running_var"] = at::ones({65});
  const std::string message = refusal("shaped", shaped);
  EXPECT_TRUE(absl::StrContains(message, "trunk.1.BN.running_var")) << message;
  EXPECT_TRUE(absl::StrContains(message, "65")) << message;

  const std::shared_ptr<Backbone> net = MakeBackbone(BackboneKind::kConv4);
  EXPECT_EQ(LoadPretrained("/none/such.safetensors", net.get()).code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace evograd
