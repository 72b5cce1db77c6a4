// Goal: lft draws, computes and scores as its header says, and refuses data that does not fit.
// Method: three domains of generated pictures, told apart by their colour. Losses are compared with
// a RelationNet that is driven by hand, the hypergradient with a difference quotient, accuracies
// with episodes that pass through the whole network one by one.
#include "worker/problems/lft.h"

#include <ATen/ATen.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "spec/resolve.h"
#include "worker/data/image_loader.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/models/classifier_head.h"
#include "worker/models/initialisation.h"
#include "worker/models/relation_net.h"
#include "worker/problems/episode_evaluation.h"
#include "worker/problems/lft_batches.h"
#include "worker/problems/testing/picture_domains.h"

namespace evograd {
namespace {

constexpr int kExtent = 20;
constexpr uint64_t kSeed = 9;

class LftTest : public FolderFixture {
 protected:
  LftTest() {
    // Red, green and blue.
    WritePictureDomains(folder_, {{"r"}, {"g"}, {"b"}});
  }

  // `problem` and `rest` are fields that differ from the small job's own.
  v1::JobSpec Spec(const std::string& problem = "", const std::string& rest = "") {
    v1::JobSpec spec;
    for (const std::string& text :
         {absl::StrCat("steps: 40 seed: 5 data_type: FLOAT64 problem { lft { data_dir: '", folder_,
                       "' seen_domains: ['r', 'g', 'b'] test_domains: 'b' backbone: CONV4 ",
                       "image_extent: ", kExtent, " way: 2 shot: 2 query: 1 ",
                       "auxiliary_batch_size: 4 steps_per_epoch: 1 evaluation_episodes: 6 ",
                       "validation_episodes: 3 evaluation_query: 2 } }"),
          absl::StrCat("problem { lft { ", problem, " } } ", rest)}) {
      EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &spec)) << text;
    }
    for (const FieldViolation& violation : Resolve(&spec)) {
      ADD_FAILURE() << violation.field << ": " << violation.description;
    }
    return spec;
  }

  void Make(const v1::JobSpec& spec) {
    auto made = MakeLft(spec, "cpu", cancelled_);
    ASSERT_TRUE(made.ok()) << made.status();
    problem_ = *std::move(made);
    parameters_ = at::zeros({problem_->parameters().elements()}, at::kDouble);
    buffers_ = at::zeros({problem_->buffers().elements()}, at::kDouble);
    problem_->Bind(parameters_, buffers_);
    const absl::Status status = problem_->Initialise(kSeed);
    ASSERT_TRUE(status.ok()) << status;
    lambda_ = at::tensor(problem_->initial_hyperparameters(), at::kDouble);
  }

  void ExpectRefused(const v1::JobSpec& spec, absl::StatusCode code,
                     const std::vector<std::string>& parts) {
    ExpectStatus(MakeLft(spec, "cpu", cancelled_).status(), code, parts);
  }

  double MemberLoss(const Batch& batch, const at::Tensor& lambda, uint64_t noise = 1) {
    at::manual_seed(noise);
    const auto loss = problem_->MemberLoss(batch, lambda);
    EXPECT_TRUE(loss.ok()) << loss.status();
    return loss.value_or(0);
  }

  Batch Members(const Batch& batch) {
    const auto members = problem_->PrepareMembers(batch, lambda_);
    EXPECT_TRUE(members.ok()) << members.status();
    return *members;
  }

  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Problem> problem_;
  at::Tensor parameters_;
  at::Tensor buffers_;
  at::Tensor lambda_;
};

// The same network, built and begun by hand.
struct Twin {
  explicit Twin(int64_t auxiliary_classes = 3)
      : net(MakeBackbone(BackboneKind::kConv4), kExtent),
        auxiliary(net.register_module("auxiliary",
                                      std::make_shared<ClassifierHead>(64, 2, auxiliary_classes))) {
    net.to(at::kDouble);
    InitialiseWeights(kSeed, &net);
  }

  double EpisodeLoss(const at::Tensor& images, const FeaturePass& pass, int64_t query = 1) {
    const at::NoGradGuard no_grad;
    return at::cross_entropy_loss(net.Forward(images, {2, 2}, pass), QueryLabels(2, query))
        .item<double>();
  }

  RelationNet net;
  std::shared_ptr<ClassifierHead> auxiliary;
};

// Which of red, green and blue dominates, in pixels as they were before the normalisation.
int ColourOf(const at::Tensor& images) {
  const at::Tensor means = images.mean({0, 2, 3});
  const at::Tensor pixels = means * at::tensor({0.229, 0.224, 0.225}, means.options()) +
                            at::tensor({0.485, 0.456, 0.406}, means.options());
  return static_cast<int>(pixels.argmax().item<int64_t>());
}

TEST_F(LftTest, BatchesAreEpisodesOfTheEpochsPairAndPicturesOfTheAuxiliaryDomain) {
  const v1::JobSpec spec = Spec("auxiliary_domain: 'g' episodes_per_step: 3");
  Make(spec);
  const auto batches = LftBatches::Read(spec, at::kDouble, cancelled_);
  ASSERT_TRUE(batches.ok()) << batches.status();
  EXPECT_EQ((*batches)->auxiliary_classes(), 3);
  std::map<std::pair<int, int>, int> pairs;
  for (int64_t step = 0; step < 12; ++step) {
    const DomainPair pair = (*batches)->PairAt(step);
    ++pairs[{pair.seen, pair.unseen}];
    const auto train = problem_->TrainBatch(step);
    const auto validation = problem_->ValidationBatch(step);
    ASSERT_TRUE(train.ok() && validation.ok()) << train.status() << validation.status();
    ASSERT_EQ(train->tensors.size(), 4u);
    ASSERT_EQ(validation->tensors.size(), 1u);
    const std::vector<int64_t> shape = {3, 6, 3, kExtent, kExtent};
    EXPECT_EQ(train->tensors[0].sizes().vec(), shape);
    EXPECT_EQ(validation->tensors[0].sizes().vec(), shape);
    EXPECT_EQ(train->tensors[0].scalar_type(), at::kDouble);
    EXPECT_EQ(ColourOf(train->tensors[0].flatten(0, 1)), pair.seen);
    EXPECT_EQ(ColourOf(validation->tensors[0].flatten(0, 1)), pair.unseen);
    EXPECT_EQ(ColourOf(train->tensors[1]), 1) << "green";
    EXPECT_EQ(train->tensors[1].size(0), 4);
    EXPECT_EQ(train->tensors[2].scalar_type(), at::kLong);
    EXPECT_LT(train->tensors[2].max().item<int64_t>(), 3);
  }
  EXPECT_GT(pairs.size(), 2u) << "epochs have pairs of their own";
}

TEST_F(LftTest, BatchesArePureFunctionsOfTheStep) {
  Make(Spec());
  std::vector<Batch> train;
  std::vector<Batch> validation;
  for (int64_t step = 0; step < 4; ++step) {
    train.push_back(*problem_->TrainBatch(step));
    validation.push_back(*problem_->ValidationBatch(step));
  }
  Make(Spec("loader_threads: 1 image_cache_mib: 1"));
  for (const int64_t step : {3, 0, 2, 2}) {
    const Batch again = *problem_->TrainBatch(step);
    for (size_t i = 0; i < again.tensors.size(); ++i) {
      EXPECT_TRUE(again.tensors[i].equal(train[step].tensors[i])) << step << " " << i;
    }
    EXPECT_TRUE(problem_->ValidationBatch(step)->tensors[0].equal(validation[step].tensors[0]));
  }
  EXPECT_FALSE(train[0].tensors[0].equal(train[1].tensors[0]));
  EXPECT_FALSE(train[0].tensors[0].equal(validation[0].tensors[0]));
}

TEST_F(LftTest, TheAuxiliaryWeightDecaysByTwentieths) {
  Make(Spec("auxiliary_weight: 2"));
  for (const auto& [step, power] : std::map<int64_t, int>{{0, 0}, {1, 0}, {2, 1}, {39, 19}}) {
    const at::Tensor weights = problem_->TrainBatch(step)->tensors[3];
    EXPECT_TRUE(weights.allclose(at::full({4}, 2 * std::pow(0.9, power), at::kDouble), 1e-14, 0))
        << step << weights;
  }
  Make(Spec("auxiliary_weight: 0"));
  EXPECT_EQ(problem_->TrainBatch(0)->tensors.size(), 1u);
}

TEST_F(LftTest, LossesAreTheTwins) {
  Make(Spec("episodes_per_step: 2"));
  const Batch train = *problem_->TrainBatch(3);
  const Batch validation = *problem_->ValidationBatch(3);
  const at::Tensor gradient = at::zeros_like(parameters_);

  Twin twin;
  at::manual_seed(1);
  const double first = twin.EpisodeLoss(train.tensors[0][0], {true, lambda_});
  const double episodes = (first + twin.EpisodeLoss(train.tensors[0][1], {true, lambda_})) / 2;
  EXPECT_NEAR(MemberLoss(Members(train), lambda_), episodes, 1e-12);

  const Twin fresh;
  const at::Tensor logits =
      fresh.auxiliary->Forward(Twin().net.feature().Forward(train.tensors[1], {}));
  const double auxiliary = at::cross_entropy_loss(logits, train.tensors[2]).item<double>();
  EXPECT_GT(auxiliary, 0.1);
  Make(Spec("episodes_per_step: 2"));
  at::manual_seed(1);
  const auto result = problem_->TrainGradient(train, lambda_, gradient, false);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->loss, episodes + 0.9 * auxiliary, 1e-12) << "step 3 of 40: 0.9^1";

  Make(Spec("episodes_per_step: 2"));
  const auto loss = problem_->ValidationGradient(validation, gradient);
  ASSERT_TRUE(loss.ok()) << loss.status();
  Twin third;
  EXPECT_NEAR(*loss,
              (third.EpisodeLoss(validation.tensors[0][0], {}) +
               third.EpisodeLoss(validation.tensors[0][1], {})) /
                  2,
              1e-12);
}

TEST_F(LftTest, MembersLeaveTheAuxiliaryLossOutUnlessTheyShareTheBasePass) {
  Make(Spec());
  EXPECT_EQ(Members(*problem_->TrainBatch(0)).tensors.size(), 1u);
  Make(Spec("", "estimator { kind: EVOGRAD_SHARED population: 3 }"));
  EXPECT_EQ(Members(*problem_->TrainBatch(0)).tensors.size(), 4u);
}

TEST_F(LftTest, TheHypergradientIsTheDifferenceQuotientAndRecomputationRepeatsTheNoise) {
  Make(Spec());
  const Batch batch = Members(*problem_->TrainBatch(0));
  const at::Tensor buffers = buffers_.clone();
  const auto restore = [&] { buffers_.copy_(buffers); };
  at::manual_seed(4);
  const auto member = problem_->MemberGradient(batch, lambda_);
  ASSERT_TRUE(member.ok()) << member.status();
  restore();
  // Bit for bit: without a graph, and as a retained graph.
  EXPECT_EQ(MemberLoss(batch, lambda_, 4), member->loss);
  restore();
  at::manual_seed(4);
  const auto retained = problem_->RetainMember(batch, lambda_);
  ASSERT_TRUE(retained.ok()) << retained.status();
  EXPECT_EQ((*retained)->loss(), member->loss);
  EXPECT_TRUE((*retained)->Hypergradient()->equal(member->hypergradient));
  restore();
  EXPECT_NE(MemberLoss(batch, lambda_, 5), member->loss) << "other noise";

  constexpr double kStep = 1e-6;
  const std::vector<std::string> names = problem_->hyperparameter_names();
  for (const int64_t i : {0, 70, 200, 500}) {
    at::Tensor step = at::zeros_like(lambda_);
    step[i] = kStep;
    restore();
    const double up = MemberLoss(batch, lambda_ + step, 4);
    restore();
    const double quotient = (up - MemberLoss(batch, lambda_ - step, 4)) / (2 * kStep);
    EXPECT_NEAR(member->hypergradient[i].item<double>(), quotient, 1e-7) << names[i];
  }
  // A channel that happens to be negative everywhere has none.
  EXPECT_GT(member->hypergradient.ne(0).to(at::kDouble).mean().item<double>(), 0.9);
}

TEST_F(LftTest, MembersDifferInAllButTheAuxiliaryClassifier) {
  Make(Spec());
  std::map<std::string, int> perturbed;
  for (const TensorSlot& slot : problem_->parameters().slots()) {
    const std::string part = slot.name.substr(0, slot.name.find('.'));
    EXPECT_EQ(slot.perturbed, part != "auxiliary") << slot.name;
    ++perturbed[part];
  }
  EXPECT_EQ(perturbed, (std::map<std::string, int>{
                           {"auxiliary", 6}, {"feature", 16}, {"relation_module", 12}}));
  EXPECT_TRUE(problem_->base_first());
  EXPECT_EQ(problem_->hyperparameter_names().size(), 512u);
}

TEST_F(LftTest, TheThreeRowsOfTheTable) {
  const std::string none = "estimator { kind: NONE }";
  Make(Spec("transformation: NONE", none));
  EXPECT_TRUE(problem_->hyperparameter_names().empty());
  EXPECT_EQ(problem_->initial_hyperparameters().size(), 0u);
  EXPECT_TRUE(problem_->ValidationBatch(0)->tensors.empty());
  Batch batch = Members(*problem_->TrainBatch(0));
  const double plain = MemberLoss(batch, lambda_, 1);
  EXPECT_EQ(MemberLoss(batch, lambda_, 2), plain) << "no noise";

  Make(Spec("transformation: FIXED initial_gamma: 0.1", none));
  EXPECT_EQ(problem_->initial_hyperparameters()[0], 0.1);
  EXPECT_TRUE(problem_->ValidationBatch(0)->tensors.empty());
  batch = Members(*problem_->TrainBatch(0));
  const double fixed = MemberLoss(batch, lambda_, 1);
  EXPECT_NE(fixed, plain);
  EXPECT_NE(MemberLoss(batch, lambda_, 2), fixed);
  EXPECT_NE(MemberLoss(batch, lambda_ * 2, 1), fixed);
}

TEST_F(LftTest, AccuraciesAreThoseOfEpisodesThatPassThroughTheNetworkOneByOne) {
  const v1::JobSpec spec = Spec();
  Make(spec);
  const auto score = problem_->Evaluate(lambda_);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->metrics.size(), 4u);
  EXPECT_NEAR(score->metrics.at("gamma"), 0.3, 1e-12);
  EXPECT_NEAR(score->metrics.at("beta"), 0.5, 1e-12);

  const auto list = ReadImageList(folder_ + "/b/novel.json");
  ASSERT_TRUE(list.ok()) << list.status();
  Twin twin;
  ImageLoader loader({kExtent, 1}, cancelled_);
  const EpisodeShape shape{2, 2, 2};
  const uint64_t seed = DeriveSeed(spec.seed(), seed_domain::kEvaluation, 1, 0);
  std::vector<double> accuracies;
  for (int i = 0; i < 6; ++i) {
    std::vector<ImageRequest> requests;
    for (const int64_t image : DrawEpisode(*list, shape, seed, 0, i).images) {
      requests.push_back({list->images[image], {}});
    }
    const auto images = loader.Load(requests);
    ASSERT_TRUE(images.ok()) << images.status();
    const at::NoGradGuard no_grad;
    const at::Tensor scores = twin.net.Forward(images->to(at::kDouble), {2, 2}, FeaturePass());
    accuracies.push_back(
        scores.argmax(1).eq(QueryLabels(2, 2)).to(at::kDouble).mean().item<double>());
  }
  const at::Tensor all = at::tensor(accuracies, at::kDouble);
  EXPECT_NEAR(score->metrics.at("accuracy_b"), all.mean().item<double>(), 1e-12);
  EXPECT_NEAR(score->metrics.at("interval_b"),
              1.96 * all.std(/*unbiased=*/false).item<double>() / std::sqrt(6.0), 1e-12);
  EXPECT_GT(all.std().item<double>(), 0) << "else the interval is not tested";

  // Groups as small as they can be: one episode each.
  EpisodeEvaluation what{shape, 6, kExtent, 1, at::kDouble, /*feature_bytes=*/1};
  const auto grouped = EvaluateEpisodes(*list, what, seed, cancelled_, &twin.net);
  ASSERT_TRUE(grouped.ok()) << grouped.status();
  EXPECT_NEAR(grouped->accuracy, score->metrics.at("accuracy_b"), 1e-12);
}

TEST_F(LftTest, BetweenStepsTheValidationClassesOfSeenDomainsAreScored) {
  Make(Spec());
  const at::Tensor buffers = buffers_.clone();
  const auto score = problem_->EvaluateBetweenSteps(lambda_);
  ASSERT_TRUE(score.ok()) << score.status();
  std::vector<std::string> names;
  for (const auto& [name, value] : score->metrics) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"beta", "gamma", "validation_accuracy_b",
                                             "validation_accuracy_g", "validation_accuracy_r",
                                             "validation_interval_b", "validation_interval_g",
                                             "validation_interval_r"}));
  EXPECT_TRUE(buffers_.equal(buffers)) << "an evaluation moves no statistics";
  cancelled_ = true;
  EXPECT_EQ(problem_->Evaluate(lambda_).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(LftTest, ShardsAreEpisodes) {
  Make(Spec("episodes_per_step: 2", "virtual_workers: 2"));
  const Batch batch = *problem_->TrainBatch(0);
  for (int shard = 0; shard < 2; ++shard) {
    const auto part = problem_->Shard(batch, shard, 2);
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_TRUE(part->tensors[0].equal(batch.tensors[0].narrow(0, shard, 1)));
    EXPECT_TRUE(part->tensors[1].equal(batch.tensors[1].narrow(0, 2 * shard, 2)));
  }
}

TEST_F(LftTest, ListsThatDoNotFitAreRefused) {
  EXPECT_TRUE(MakeLft(Spec("query: 2"), "cpu", cancelled_).ok());
  ExpectRefused(Spec("query: 3"), absl::StatusCode::kInvalidArgument, {"r/base.json", "4"});
  EXPECT_TRUE(MakeLft(Spec("query: 3 repeat_images: true"), "cpu", cancelled_).ok());
  EXPECT_TRUE(MakeLft(Spec("way: 3"), "cpu", cancelled_).ok());
  ExpectRefused(Spec("way: 4"), absl::StatusCode::kInvalidArgument, {"r/base.json", "4"});
  // The base lists have enough for 2 + 1, the others not for 2 + 3.
  ExpectRefused(Spec("evaluation_query: 3"), absl::StatusCode::kInvalidArgument, {"val.json"});
  ExpectRefused(Spec("auxiliary_domain: 'purple'"), absl::StatusCode::kNotFound,
                {"purple/base.json"});
  std::ofstream(folder_ + "/b/novel.json")
      << R"({"label_names": [], "image_names": [], "image_labels": []})";
  ExpectRefused(Spec(), absl::StatusCode::kDataLoss, {"b/novel.json"});
  std::remove((folder_ + "/b/novel.json").c_str());
  ExpectRefused(Spec(), absl::StatusCode::kNotFound, {"b/novel.json"});
  cancelled_ = true;
  ExpectRefused(Spec(), absl::StatusCode::kCancelled, {});
}

// One picture of each list, of those that only the evaluation at the end reads too.
TEST_F(LftTest, AMissingPictureIsFoundBeforeTheFirstStep) {
  const std::string between = "evaluation_interval_steps: 5";
  ASSERT_TRUE(MakeLft(Spec("", between), "cpu", cancelled_).ok());
  for (const char* name : {"/r/base_1_2", "/g/val_0_3", "/b/novel_2_1"}) {
    const std::string path = absl::StrCat(folder_, name, ".png");
    std::ifstream file(path, std::ios::binary);
    const std::string whole(std::istreambuf_iterator<char>(file), {});
    ASSERT_GT(whole.size(), 100u) << path;
    std::remove(path.c_str());
    ExpectRefused(Spec("", between), absl::StatusCode::kNotFound, {path, ".json lists it"});
    std::ofstream(path, std::ios::binary) << whole.substr(0, whole.size() / 2);
    ExpectRefused(Spec("", between), absl::StatusCode::kDataLoss, {path, "truncated"});
    std::ofstream(path, std::ios::binary) << whole;
    EXPECT_TRUE(MakeLft(Spec("", between), "cpu", cancelled_).ok());
  }
  // What the job never reads may be missing.
  std::remove((folder_ + "/g/val_0_3.png").c_str());
  EXPECT_TRUE(MakeLft(Spec(), "cpu", cancelled_).ok());
}

TEST_F(LftTest, PicturesThatCannotBeReadEndTheStepThatNeedsThem) {
  const auto damage = [&](const std::string& bytes) {
    for (int label = 0; label < 3; ++label) {
      for (int image = 0; image < 4; ++image) {
        const std::string path = absl::StrCat(folder_, "/g/base_", label, "_", image, ".png");
        if (bytes.empty()) {
          std::remove(path.c_str());
        } else {
          std::ofstream(path, std::ios::binary) << bytes;
        }
      }
    }
  };
  const std::string fixed = "transformation: FIXED auxiliary_domain: 'g'";
  Make(Spec(fixed, "estimator { kind: NONE }"));
  EXPECT_TRUE(problem_->TrainBatch(0).ok());
  // After the look at all of them.
  Make(Spec(fixed, "estimator { kind: NONE }"));
  damage("\xff\xd8\xff\xe0 not much of a JPEG");
  ExpectStatus(problem_->TrainBatch(0).status(), absl::StatusCode::kDataLoss, {"g/base_"});
  const v1::JobSpec spec = Spec(fixed, "estimator { kind: NONE }");
  ExpectRefused(spec, absl::StatusCode::kDataLoss, {"g/base_0_0.png"});
  damage("");
  ExpectRefused(spec, absl::StatusCode::kNotFound, {"g/base_0_0.png"});
}

}  // namespace
}  // namespace evograd
