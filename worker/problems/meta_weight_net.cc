#include "worker/problems/meta_weight_net.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/status_macros.h"
#include "worker/models/cifar_resnet.h"
#include "worker/models/lenet.h"
#include "worker/models/weighting_net.h"
#include "worker/models/wide_resnet.h"
#include "worker/problems/autograd_problem.h"
#include "worker/problems/noisy_images.h"
#include "worker/problems/torch_status.h"
#include "worker/problems/weight_report.h"

namespace evograd {
namespace {

using Mwn = v1::MetaWeightNet;

constexpr int64_t kEvaluationBatch = 500;

absl::StatusOr<std::shared_ptr<ImageClassifier>> MakeModel(const Mwn& spec,
                                                           const NoisyImages& data) {
  const ImageSet& set = data.train_file();
  switch (spec.model()) {
    case Mwn::RESNET:
      return std::make_shared<CifarResNet>(
          CifarResNetOptions{spec.depth(), spec.width(), set.channels, data.classes()});
    case Mwn::WIDE_RESNET:
      return std::make_shared<WideResNet>(WideResNetOptions{
          spec.depth(), spec.width(), set.channels, data.classes(), spec.dropout()});
    default:
      break;
  }
  if (set.channels != 1 || set.rows != LeNet::kExtent || set.columns != LeNet::kExtent) {
    return absl::InvalidArgumentError(absl::StrCat(
        "problem.meta_weight_net.model: LENET takes grey images of ", LeNet::kExtent, " x ",
        LeNet::kExtent, " pixels, but ", set.path, " has images of ", set.channels,
        " channel(s) and ", set.rows, " x ", set.columns, " pixels; use RESNET or WIDE_RESNET"));
  }
  return std::make_shared<LeNet>(data.classes());
}

class MetaWeightNet : public AutogradProblem {
 public:
  MetaWeightNet(const v1::JobSpec& spec, NoisyImages data, std::shared_ptr<ImageClassifier> net,
                const at::Device& device, const std::atomic<bool>& cancelled)
      : AutogradProblem(net, TypeOf(spec.data_type()), device),
        spec_(spec.problem().meta_weight_net()),
        seed_(spec.seed()),
        data_(std::move(data)),
        net_(std::move(net)),
        weighting_(spec_.weighting_hidden_units()),
        normalisation_(spec_.normalisation() == Mwn::MEAN ? WeightNormalisation::kMean
                                                          : WeightNormalisation::kSumToOne),
        cancelled_(cancelled),
        mean_(PerChannel(data_.mean())),
        deviation_(PerChannel(data_.deviation())) {}

  std::vector<std::string> hyperparameter_names() const override { return weighting_.names(); }
  std::vector<double> initial_hyperparameters() const override {
    return weighting_.InitialValues(seed_);
  }
  bool base_first() const override { return false; }

  absl::Status Initialise(uint64_t seed) override {
    return CatchTorch([&] {
      net_->Initialise(seed);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<Batch> TrainBatch(int64_t step) override {
    return CatchTorch([&]() -> absl::StatusOr<Batch> { return ToDevice(data_.TrainBatch(step)); });
  }
  absl::StatusOr<Batch> ValidationBatch(int64_t step) override {
    return CatchTorch([&]() -> absl::StatusOr<Batch> { return ToDevice(data_.MetaBatch(step)); });
  }

  absl::StatusOr<Batch> PrepareMembers(const Batch& batch, const at::Tensor& lambda) override {
    if (!weighs() || spec_.members_weigh_by_own_losses()) return batch;
    return CatchTorch([&]() -> absl::StatusOr<Batch> {
      const at::NoGradGuard no_grad;
      const at::Tensor before = bound_buffers().clone();
      Batch prepared = batch;
      prepared.tensors.push_back(Losses(batch));
      bound_buffers().copy_(before);
      return prepared;
    });
  }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) override {
    return CatchTorch([&]() -> absl::StatusOr<ProblemEvaluation> {
      const at::NoGradGuard no_grad;
      net_->eval();
      ProblemEvaluation evaluation;
      EVOGRAD_RETURN_IF_ERROR(EvaluateTest(&evaluation));
      EVOGRAD_RETURN_IF_ERROR(EvaluateTraining(lambda, &evaluation));
      return evaluation;
    });
  }

  std::map<std::string, at::Tensor> Artifacts() const override { return data_.Artifacts(); }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    const at::Tensor losses = Losses(batch);
    if (!weighs()) return losses.mean();
    const at::Tensor seen = batch.tensors.size() > 2 ? batch.tensors[2] : losses;
    return WeightedLoss(weighting_.Weights(lambda, seen), losses, normalisation_);
  }

  at::Tensor ValidationLoss(const Batch& batch) override { return Losses(batch).mean(); }

 private:
  bool weighs() const { return spec_.weighting() == Mwn::LEARNED; }

  at::Tensor PerChannel(const std::vector<double>& values) const {
    return at::tensor(values, at::kDouble).to(options()).view({1, -1, 1, 1});
  }

  Batch ToDevice(const PixelBatch& batch) const {
    const at::Tensor images = batch.pixels.to(device()).to(type()) / 255;
    return Batch{{(images - mean_) / deviation_, batch.labels.to(device())}};
  }

  // Of each example, in training mode.
  at::Tensor Losses(const Batch& batch) {
    net_->train();
    return at::cross_entropy_loss(net_->Forward(batch.tensors[0]), batch.tensors[1], {},
                                  at::Reduction::None);
  }

  absl::Status CheckCancelled() const {
    if (!cancelled_.load(std::memory_order_relaxed)) return absl::OkStatus();
    return absl::CancelledError("the evaluation was cancelled");
  }

  absl::Status EvaluateTest(ProblemEvaluation* evaluation) {
    double right = 0;
    double loss = 0;
    const int64_t tests = data_.test_count();
    for (int64_t first = 0; first < tests; first += kEvaluationBatch) {
      EVOGRAD_RETURN_IF_ERROR(CheckCancelled());
      const Batch batch = ToDevice(data_.Test(first, std::min(kEvaluationBatch, tests - first)));
      const at::Tensor logits = net_->Forward(batch.tensors[0]);
      right += logits.argmax(1).eq(batch.tensors[1]).sum().item<double>();
      loss +=
          at::cross_entropy_loss(logits, batch.tensors[1], {}, at::Reduction::Sum).item<double>();
    }
    evaluation->metrics["accuracy"] = right / tests;
    evaluation->metrics["test_loss"] = loss / tests;
    return absl::OkStatus();
  }

  // Positions of the training examples that an evaluation looks at: the same ones every time.
  std::vector<int64_t> SampledPositions() const {
    const int64_t count = data_.train_count();
    const int64_t sampled = std::min<int64_t>(count, spec_.weight_examples());
    const uint64_t order = DeriveSeed(spec_.data_seed(), seed_domain::kEvaluation, 0, 0);
    std::vector<int64_t> positions;
    for (int64_t i = 0; i < sampled; ++i) {
      positions.push_back(PermutedIndex(order, /*epoch=*/0, i, count));
    }
    return positions;
  }

  absl::Status EvaluateTraining(const at::Tensor& lambda, ProblemEvaluation* evaluation) {
    const std::vector<int64_t> positions = SampledPositions();
    std::vector<WeighedExample> examples;
    for (size_t first = 0; first < positions.size(); first += kEvaluationBatch) {
      EVOGRAD_RETURN_IF_ERROR(CheckCancelled());
      const auto begin = positions.begin() + first;
      const std::vector<int64_t> part(
          begin, begin + std::min<size_t>(kEvaluationBatch, positions.size() - first));
      const Batch batch = ToDevice(data_.Train(part));
      const at::Tensor logits = net_->Forward(batch.tensors[0]);
      const at::Tensor losses =
          at::cross_entropy_loss(logits, batch.tensors[1], {}, at::Reduction::None);
      const auto doubles = [](const at::Tensor& tensor) {
        return tensor.to(at::kCPU, at::kDouble).contiguous();
      };
      const at::Tensor loss = doubles(losses);
      const at::Tensor answered = doubles(logits.argmax(1).eq(batch.tensors[1]));
      const at::Tensor weight = doubles(weighting_.Weights(lambda, losses));
      for (size_t i = 0; i < part.size(); ++i) {
        examples.push_back({loss.const_data_ptr<double>()[i], weight.const_data_ptr<double>()[i],
                            data_.IsNoisy(part[i]), answered.const_data_ptr<double>()[i] != 0});
      }
    }
    ReportLabels(examples, evaluation);
    if (weighs()) ReportWeights(examples, evaluation);
    return absl::OkStatus();
  }

  const Mwn spec_;
  const uint64_t seed_;
  const NoisyImages data_;
  const std::shared_ptr<ImageClassifier> net_;
  const WeightingNet weighting_;
  const WeightNormalisation normalisation_;
  const std::atomic<bool>& cancelled_;
  const at::Tensor mean_;       // [1, channels, 1, 1], of pixels in [0, 1]
  const at::Tensor deviation_;  // likewise
};

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakeMetaWeightNet(const v1::JobSpec& spec,
                                                           const std::string& device,
                                                           const std::atomic<bool>& cancelled) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<Problem>> {
    EVOGRAD_ASSIGN_OR_RETURN(NoisyImages data, NoisyImages::Read(spec, cancelled));
    EVOGRAD_ASSIGN_OR_RETURN(std::shared_ptr<ImageClassifier> net,
                             MakeModel(spec.problem().meta_weight_net(), data));
    return std::make_unique<MetaWeightNet>(spec, std::move(data), std::move(net),
                                           at::Device(device), cancelled);
  });
}

}  // namespace evograd
