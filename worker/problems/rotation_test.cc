// Goal: the problem turns, normalises, samples and scores as its header says, and refuses data that
// does not fit. Method: a small data set cut out of Fashion-MNIST is written as idx files. Its
// validation pictures are the training pictures again, one of each class, so that both can be
// compared picture by picture. Losses and scores are compared with a LeNet that is driven by hand;
// the hypergradient with a difference quotient.
#include "worker/problems/rotation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/data/idx.h"
#include "worker/data/rotate.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/data/testing/idx_bytes.h"
#include "worker/models/lenet.h"
#include "worker/models/rotation.h"
#include "worker/problems/problem.h"

namespace evograd {
namespace {

constexpr double kRadians = 0.5235987755982988;  // 30 degrees
constexpr int kPixels = 28 * 28;

struct Set {
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> labels;
};

// Real pictures, `each` of every class, class by class.
Set Examples(int each) {
  static const LabelledImages* const kFashion = [] {
    const std::atomic<bool> cancelled{false};
    auto set = ReadLabelledImages("/usr/share/datasets/fashion-mnist", "t10k", 10, cancelled);
    EXPECT_TRUE(set.ok()) << set.status();
    return new LabelledImages(*std::move(set));
  }();
  Set examples;
  for (uint8_t label = 0; label < 10; ++label) {
    int found = 0;
    for (size_t i = 0; found < each; ++i) {
      if (kFashion->labels[i] != label) continue;
      const auto begin = kFashion->images.pixels.begin() + i * kPixels;
      examples.pixels.insert(examples.pixels.end(), begin, begin + kPixels);
      examples.labels.push_back(label);
      ++found;
    }
  }
  return examples;
}

Set Joined(Set a, const Set& b) {
  a.pixels.insert(a.pixels.end(), b.pixels.begin(), b.pixels.end());
  a.labels.insert(a.labels.end(), b.labels.begin(), b.labels.end());
  return a;
}

// The pictures from the last to the first.
Set Reversed(const Set& set) {
  Set reversed;
  for (size_t i = set.labels.size(); i-- > 0;) {
    const auto begin = set.pixels.begin() + i * kPixels;
    reversed.pixels.insert(reversed.pixels.end(), begin, begin + kPixels);
    reversed.labels.push_back(set.labels[i]);
  }
  return reversed;
}

class RotationTest : public FolderFixture, public testing::WithParamInterface<v1::DataType> {
 protected:
  // 10 training pictures, 10 that nobody uses, the training pictures in another order; 30 for
  // tests.
  RotationTest() {
    Set unused = Examples(1);
    std::fill(unused.pixels.begin(), unused.pixels.end(), 77);
    WriteSet("train", Joined(Joined(Examples(1), unused), Reversed(Examples(1))));
    WriteSet("t10k", Examples(3));
    v1::Rotation* rotation = spec_.mutable_problem()->mutable_rotation();
    rotation->set_data_dir(folder_);
    rotation->set_angle_degrees(30);
    rotation->set_train_examples(10);
    rotation->set_validation_examples(10);
    rotation->set_batch_size(10);
    rotation->set_validation_batch_size(10);
    spec_.set_seed(5);
    spec_.set_data_type(GetParam());
  }

  void WriteSet(const std::string& prefix, const Set& set, uint32_t extent = 28) {
    Write(prefix + "-images-idx3-ubyte",
          IdxImages(set.labels.size(), extent, extent,
                    std::string(set.pixels.begin(), set.pixels.end())));
    Write(prefix + "-labels-idx1-ubyte",
          IdxLabels(std::string(set.labels.begin(), set.labels.end())));
  }

  v1::Rotation* rotation() { return spec_.mutable_problem()->mutable_rotation(); }
  at::ScalarType type() const { return GetParam() == v1::FLOAT64 ? at::kDouble : at::kFloat; }
  double tolerance() const { return GetParam() == v1::FLOAT64 ? 1e-12 : 1e-5; }
  at::Tensor Angle(double radians) { return at::full({1}, radians, type()); }

  void Make() {
    auto made = MakeRotation(spec_, "cpu", cancelled_);
    ASSERT_TRUE(made.ok()) << made.status();
    problem_ = *std::move(made);
    parameters_ = at::zeros({problem_->parameters().elements()}, type());
    problem_->Bind(parameters_, at::zeros({0}, type()));
    ASSERT_TRUE(problem_->Initialise(9).ok());
    net_.to(type());
    net_.Initialise(9);
  }

  void ExpectRefused(absl::StatusCode code, const std::vector<std::string>& parts) {
    FolderFixture::ExpectRefused(MakeRotation(spec_, "cpu", cancelled_), code, parts);
  }

  // The training pictures' pixels in [0, 1] as a tensor, turned by RotateNearest.
  at::Tensor Unit(std::vector<uint8_t> pixels, double degrees) {
    pixels = RotateNearest(pixels, 28, degrees);
    const int64_t count = pixels.size() / kPixels;
    return at::from_blob(pixels.data(), {count, 1, 28, 28}, at::kByte).to(type()) / 255;
  }

  // Logits of the twin, with the normalisation worked out in the plainest way.
  at::Tensor TwinLogits(const at::Tensor& images) {
    const at::Tensor train = Unit(Examples(1).pixels, 0);
    const at::NoGradGuard no_grad;
    return net_.Forward((images - train.mean()) / train.std(/*unbiased=*/false));
  }

  v1::JobSpec spec_;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Problem> problem_;
  at::Tensor parameters_;
  LeNet net_;
};

// The batch's pictures in the order of their labels, which are all different.
at::Tensor ByLabel(const Batch& batch) {
  return batch.tensors[0].index_select(0, batch.tensors[1].argsort());
}

TEST_P(RotationTest, BatchesHoldUprightTrainingAndTurnedValidationPictures) {
  Make();
  const auto train = problem_->TrainBatch(0);
  const auto validation = problem_->ValidationBatch(0);
  ASSERT_TRUE(train.ok() && validation.ok());
  EXPECT_EQ(train->tensors[0].scalar_type(), type());
  EXPECT_TRUE(ByLabel(*train).equal(Unit(Examples(1).pixels, 0)));
  EXPECT_TRUE(ByLabel(*validation).equal(Unit(Examples(1).pixels, 30)));
  EXPECT_FALSE(train->tensors[1].equal(problem_->TrainBatch(1)->tensors[1])) << "another order";
  EXPECT_FALSE(train->tensors[1].equal(validation->tensors[1])) << "another order";
  EXPECT_TRUE(train->tensors[1].equal(problem_->TrainBatch(0)->tensors[1])) << "a pure function";
}

TEST_P(RotationTest, TheTrueAngleMakesTrainingPicturesLookLikeValidationPictures) {
  Make();
  const at::Tensor train = ByLabel(*problem_->TrainBatch(0));
  const at::Tensor validation = ByLabel(*problem_->ValidationBatch(0));
  const auto difference = [&](double radians) {
    return (Rotate(train, Angle(radians)) - validation).abs().mean().item<double>();
  };
  EXPECT_LT(difference(kRadians), 0.3 * difference(0));
  EXPECT_LT(difference(0), difference(-kRadians));
}

TEST_P(RotationTest, LossesAreTheTwins) {
  Make();
  const Batch train = *problem_->TrainBatch(3);
  const auto loss = problem_->MemberLoss(train, Angle(0.4));
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_NEAR(
      *loss,
      at::cross_entropy_loss(TwinLogits(Rotate(train.tensors[0], Angle(0.4))), train.tensors[1])
          .item<double>(),
      tolerance());
  const Batch validation = *problem_->ValidationBatch(3);
  const auto validation_loss =
      problem_->ValidationGradient(validation, at::zeros_like(parameters_));
  ASSERT_TRUE(validation_loss.ok()) << validation_loss.status();
  EXPECT_NEAR(*validation_loss,
              at::cross_entropy_loss(TwinLogits(validation.tensors[0]), validation.tensors[1])
                  .item<double>(),
              tolerance());
}

TEST_P(RotationTest, TheHypergradientIsTheDifferenceQuotient) {
  if (GetParam() != v1::FLOAT64) GTEST_SKIP() << "a difference quotient needs float64";
  Make();
  const Batch batch = *problem_->TrainBatch(0);
  constexpr double kStep = 1e-6;
  const double quotient = (*problem_->MemberLoss(batch, Angle(0.3 + kStep)) -
                           *problem_->MemberLoss(batch, Angle(0.3 - kStep))) /
                          (2 * kStep);
  const auto member = problem_->MemberGradient(batch, Angle(0.3));
  ASSERT_TRUE(member.ok()) << member.status();
  EXPECT_GT(std::abs(quotient), 1e-4);
  EXPECT_NEAR(member->hypergradient.item<double>(), quotient, 1e-5 * std::abs(quotient) + 1e-8);
}

TEST_P(RotationTest, ShardsMakeUpTheBatch) {
  Make();
  const Batch batch = *problem_->TrainBatch(0);
  double sum = 0;
  for (int shard = 0; shard < 2; ++shard) {
    sum += *problem_->MemberLoss(*problem_->Shard(batch, shard, 2), Angle(0.1));
  }
  EXPECT_NEAR(sum / 2, *problem_->MemberLoss(batch, Angle(0.1)), tolerance());
}

TEST_P(RotationTest, MetricsAreTheTwins) {
  rotation()->set_test_examples(25);
  Make();
  const Set test = Examples(3);
  std::vector<uint8_t> pixels(test.pixels.begin(), test.pixels.begin() + 25 * kPixels);
  std::vector<int64_t> labels(test.labels.begin(), test.labels.begin() + 25);
  const at::Tensor targets = at::tensor(labels, at::kLong);
  const at::Tensor rotated = TwinLogits(Unit(pixels, 30));
  const at::Tensor upright = TwinLogits(Unit(pixels, 0));

  const auto evaluation = problem_->Evaluate(Angle(kRadians / 2));
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  const auto& metrics = evaluation->metrics;
  EXPECT_EQ(metrics.size(), 5u);
  EXPECT_EQ(metrics.at("accuracy_rotated"),
            rotated.argmax(1).eq(targets).sum().item<double>() / 25);
  EXPECT_EQ(metrics.at("accuracy_upright"),
            upright.argmax(1).eq(targets).sum().item<double>() / 25);
  EXPECT_NEAR(metrics.at("test_loss"), at::cross_entropy_loss(rotated, targets).item<double>(),
              tolerance());
  EXPECT_NEAR(metrics.at("angle_degrees"), 15, 1e-5);
  EXPECT_EQ(metrics.at("true_angle_degrees"), 30);
  cancelled_ = true;
  EXPECT_EQ(problem_->Evaluate(Angle(0)).status().code(), absl::StatusCode::kCancelled);
}

TEST_P(RotationTest, DataThatDoesNotFitIsRefused) {
  EXPECT_TRUE(MakeRotation(spec_, "cpu", cancelled_).ok());
  rotation()->set_train_examples(20);
  EXPECT_TRUE(MakeRotation(spec_, "cpu", cancelled_).ok());
  rotation()->set_train_examples(21);
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                {"train_examples 21", "validation_examples 10", "30 images"});
  rotation()->set_train_examples(10);
  rotation()->set_test_examples(30);
  EXPECT_TRUE(MakeRotation(spec_, "cpu", cancelled_).ok());
  rotation()->set_test_examples(31);
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"test_examples: 31", "30 images"});
  rotation()->set_test_examples(0);

  Set grey = Examples(3);
  std::fill(grey.pixels.begin(), grey.pixels.end(), 40);
  WriteSet("train", grey);
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"all pixels"});
  Set small = Examples(3);
  small.pixels.resize(30 * 27 * 27);
  WriteSet("train", small, 27);
  ExpectRefused(absl::StatusCode::kInvalidArgument, {"27 x 27", "28 x 28"});
  WriteSet("train", Examples(3));
  EXPECT_TRUE(MakeRotation(spec_, "cpu", cancelled_).ok());
}

TEST_P(RotationTest, MissingDataDevicesAndCancellationAreNamed) {
  cancelled_ = true;
  ExpectRefused(absl::StatusCode::kCancelled, {});
  cancelled_ = false;
  EXPECT_TRUE(MakeRotation(spec_, "cpu", cancelled_).ok());
  EXPECT_EQ(MakeRotation(spec_, "toaster", cancelled_).status().code(),
            absl::StatusCode::kInternal);
  rotation()->set_data_dir(folder_ + "/none");
  ExpectRefused(absl::StatusCode::kNotFound, {folder_ + "/none", "train-images-idx3-ubyte.gz"});
}

TEST_P(RotationTest, DevicesAgree) {
  if (!at::hasCUDA()) GTEST_SKIP() << "there is no CUDA device";
  Make();
  const Batch batch = *problem_->TrainBatch(2);
  const at::Tensor gradient = at::zeros_like(parameters_);
  const auto expected = problem_->TrainGradient(batch, Angle(0.4), gradient, true);
  ASSERT_TRUE(expected.ok()) << expected.status();

  const auto made = MakeRotation(spec_, "cuda:0", cancelled_);
  ASSERT_TRUE(made.ok()) << made.status();
  const at::Tensor parameters = parameters_.to(at::kCUDA);
  const at::Tensor device_gradient = at::zeros_like(parameters);
  (*made)->Bind(parameters, at::zeros({0}, parameters.options()));
  const Batch device_batch = *(*made)->TrainBatch(2);
  EXPECT_TRUE(device_batch.tensors[0].cpu().allclose(batch.tensors[0]));
  const auto actual =
      (*made)->TrainGradient(device_batch, Angle(0.4).to(at::kCUDA), device_gradient, true);
  ASSERT_TRUE(actual.ok()) << actual.status();
  // cuDNN may round float32 products to TF32.
  const double tolerance = GetParam() == v1::FLOAT64 ? 1e-10 : 1e-2;
  EXPECT_NEAR(actual->loss, expected->loss, tolerance);
  EXPECT_NEAR(actual->hypergradient.item<double>(), expected->hypergradient.item<double>(),
              tolerance);
  EXPECT_TRUE(device_gradient.cpu().allclose(gradient, tolerance, tolerance));
}

INSTANTIATE_TEST_SUITE_P(Types, RotationTest, testing::Values(v1::FLOAT32, v1::FLOAT64));

}  // namespace
}  // namespace evograd
