#include "worker/problems/rotation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/status_macros.h"
#include "worker/data/idx.h"
#include "worker/data/rotate.h"
#include "worker/data/sampler.h"
#include "worker/models/lenet.h"
#include "worker/models/rotation.h"
#include "worker/problems/autograd_problem.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

constexpr int64_t kPixels = LeNet::kExtent * LeNet::kExtent;
constexpr int64_t kEvaluationBatch = 1000;
constexpr double kDegreesPerRadian = 57.29577951308232;

// Some of a file's pictures with their labels, on the problem's device.
struct Pictures {
  at::Tensor pixels;  // uint8 [N, 1, 28, 28]
  at::Tensor labels;  // int64 [N]

  int64_t count() const { return labels.size(0); }
};

// The data of a job, before it goes to a device.
struct Files {
  LabelledImages train;
  LabelledImages test;
};

absl::Status CheckExtent(const LabelledImages& set) {
  if (set.images.rows == LeNet::kExtent && set.images.columns == LeNet::kExtent) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "problem.rotation.data_dir: ", set.images_path, " has images of ", set.images.rows, " x ",
      set.images.columns, " pixels; the model takes ", LeNet::kExtent, " x ", LeNet::kExtent));
}

absl::StatusOr<Files> ReadFiles(const v1::Rotation& spec, const std::atomic<bool>& cancelled) {
  Files files;
  EVOGRAD_ASSIGN_OR_RETURN(
      files.train, ReadLabelledImages(spec.data_dir(), "train", LeNet::kClasses, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(files.test,
                           ReadLabelledImages(spec.data_dir(), "t10k", LeNet::kClasses, cancelled));
  EVOGRAD_RETURN_IF_ERROR(CheckExtent(files.train));
  EVOGRAD_RETURN_IF_ERROR(CheckExtent(files.test));
  if (spec.train_examples() + spec.validation_examples() > files.train.images.count) {
    return absl::InvalidArgumentError(
        absl::StrCat("problem.rotation: train_examples ", spec.train_examples(),
                     " and validation_examples ", spec.validation_examples(), " are more than the ",
                     files.train.images.count, " images of ", files.train.images_path));
  }
  if (spec.test_examples() > files.test.images.count || files.test.images.count == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "problem.rotation.test_examples: ", std::max<int64_t>(spec.test_examples(), 1),
        " is more than the ", files.test.images.count, " images of ", files.test.images_path));
  }
  return files;
}

std::vector<uint8_t> PixelsOf(const LabelledImages& set, int64_t first, int64_t count) {
  const auto begin = set.images.pixels.begin() + first * kPixels;
  return std::vector<uint8_t>(begin, begin + count * kPixels);
}

Pictures ToDevice(std::vector<uint8_t> pixels, const LabelledImages& set, int64_t first,
                  const at::Device& device) {
  const int64_t count = pixels.size() / kPixels;
  Pictures pictures;
  pictures.pixels =
      at::from_blob(pixels.data(), {count, 1, LeNet::kExtent, LeNet::kExtent}, at::kByte)
          .clone()
          .to(device);
  std::vector<uint8_t> labels(set.labels.begin() + first, set.labels.begin() + first + count);
  pictures.labels = at::from_blob(labels.data(), {count}, at::kByte).to(at::kLong).to(device);
  return pictures;
}

// Mean and standard deviation of pixels in [0, 1].
struct Scale {
  double mean = 0;
  double deviation = 1;
};

Scale ScaleOf(const std::vector<uint8_t>& pixels) {
  // Sums of whole numbers: exact, so the same everywhere.
  uint64_t sum = 0;
  uint64_t squares = 0;
  for (const uint64_t pixel : pixels) {
    sum += pixel;
    squares += pixel * pixel;
  }
  const double count = pixels.size();
  Scale scale;
  scale.mean = sum / count / 255;
  scale.deviation = std::sqrt(squares / count / (255.0 * 255.0) - scale.mean * scale.mean);
  return scale;
}

class Rotation : public AutogradProblem {
 public:
  Rotation(const v1::JobSpec& spec, std::shared_ptr<LeNet> net, const at::Device& device,
           const std::atomic<bool>& cancelled)
      : AutogradProblem(net, TypeOf(spec.data_type()), device),
        spec_(spec.problem().rotation()),
        train_order_(DeriveSeed(spec.seed(), seed_domain::kTrainBatch, 0, 0)),
        validation_order_(DeriveSeed(spec.seed(), seed_domain::kValidationBatch, 0, 0)),
        net_(std::move(net)),
        cancelled_(cancelled) {}

  absl::Status Load(const Files& files) {
    const double angle = spec_.angle_degrees();
    const std::vector<uint8_t> train = PixelsOf(files.train, 0, spec_.train_examples());
    scale_ = ScaleOf(train);
    if (!(scale_.deviation > 0)) {
      return absl::InvalidArgumentError(absl::StrCat("problem.rotation.data_dir: all pixels of ",
                                                     files.train.images_path, " are the same"));
    }
    train_ = ToDevice(train, files.train, 0, device());
    const int64_t first = files.train.images.count - spec_.validation_examples();
    validation_ = ToDevice(RotateNearest(PixelsOf(files.train, first, spec_.validation_examples()),
                                         LeNet::kExtent, angle),
                           files.train, first, device());
    const int64_t tests =
        spec_.test_examples() > 0 ? spec_.test_examples() : files.test.images.count;
    const std::vector<uint8_t> test = PixelsOf(files.test, 0, tests);
    test_upright_ = ToDevice(test, files.test, 0, device());
    test_rotated_ = ToDevice(RotateNearest(test, LeNet::kExtent, angle), files.test, 0, device());
    return absl::OkStatus();
  }

  std::vector<std::string> hyperparameter_names() const override { return {"angle"}; }
  std::vector<double> initial_hyperparameters() const override { return {0}; }
  bool base_first() const override { return true; }

  absl::Status Initialise(uint64_t seed) override {
    return CatchTorch([&] {
      net_->Initialise(seed);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<Batch> TrainBatch(int64_t step) override {
    return Gather(train_, BatchIndices(train_order_, train_.count(), spec_.batch_size(), step));
  }
  absl::StatusOr<Batch> ValidationBatch(int64_t step) override {
    return Gather(validation_, BatchIndices(validation_order_, validation_.count(),
                                            spec_.validation_batch_size(), step));
  }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) override {
    return CatchTorch([&]() -> absl::StatusOr<ProblemEvaluation> {
      EVOGRAD_ASSIGN_OR_RETURN(const Score rotated, ScoreOf(test_rotated_));
      EVOGRAD_ASSIGN_OR_RETURN(const Score upright, ScoreOf(test_upright_));
      return ProblemEvaluation{{{"accuracy_rotated", rotated.accuracy},
                                {"accuracy_upright", upright.accuracy},
                                {"test_loss", rotated.loss},
                                {"angle_degrees", lambda.item<double>() * kDegreesPerRadian},
                                {"true_angle_degrees", spec_.angle_degrees()}},
                               {}};
    });
  }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    return Loss(Rotate(batch.tensors[0], lambda), batch.tensors[1]);
  }
  at::Tensor ValidationLoss(const Batch& batch) override {
    return Loss(batch.tensors[0], batch.tensors[1]);
  }

 private:
  struct Score {
    double accuracy = 0;
    double loss = 0;
  };

  // Images with pixels in [0, 1] -> logits.
  at::Tensor Logits(const at::Tensor& images) {
    return net_->Forward((images - scale_.mean) / scale_.deviation);
  }

  at::Tensor Loss(const at::Tensor& images, const at::Tensor& labels) {
    return at::cross_entropy_loss(Logits(images), labels);
  }

  at::Tensor ToUnit(const at::Tensor& pixels) { return pixels.to(type()) / 255; }

  absl::StatusOr<Batch> Gather(const Pictures& pictures, const std::vector<int64_t>& indices) {
    return CatchTorch([&]() -> absl::StatusOr<Batch> {
      const at::Tensor index = at::tensor(indices, at::kLong).to(device());
      return Batch{
          {ToUnit(pictures.pixels.index_select(0, index)), pictures.labels.index_select(0, index)}};
    });
  }

  absl::StatusOr<Score> ScoreOf(const Pictures& pictures) {
    const at::NoGradGuard no_grad;
    Score score;
    for (int64_t first = 0; first < pictures.count(); first += kEvaluationBatch) {
      if (cancelled_.load(std::memory_order_relaxed)) {
        return absl::CancelledError("the evaluation was cancelled");
      }
      const int64_t count = std::min(kEvaluationBatch, pictures.count() - first);
      const at::Tensor labels = pictures.labels.narrow(0, first, count);
      const at::Tensor logits = Logits(ToUnit(pictures.pixels.narrow(0, first, count)));
      score.accuracy += logits.argmax(1).eq(labels).sum().item<double>();
      score.loss += at::cross_entropy_loss(logits, labels).item<double>() * count;
    }
    score.accuracy /= pictures.count();
    score.loss /= pictures.count();
    return score;
  }

  const v1::Rotation spec_;
  const uint64_t train_order_;
  const uint64_t validation_order_;
  const std::shared_ptr<LeNet> net_;
  const std::atomic<bool>& cancelled_;
  Scale scale_;
  Pictures train_;
  Pictures validation_;    // turned by the true angle
  Pictures test_rotated_;  // turned by the true angle
  Pictures test_upright_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakeRotation(const v1::JobSpec& spec,
                                                      const std::string& device,
                                                      const std::atomic<bool>& cancelled) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<Problem>> {
    EVOGRAD_ASSIGN_OR_RETURN(const Files files, ReadFiles(spec.problem().rotation(), cancelled));
    auto problem =
        std::make_unique<Rotation>(spec, std::make_shared<LeNet>(), at::Device(device), cancelled);
    EVOGRAD_RETURN_IF_ERROR(problem->Load(files));
    return problem;
  });
}

}  // namespace evograd
