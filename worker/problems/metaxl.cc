#include "worker/problems/metaxl.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/status_macros.h"
#include "worker/data/safetensors.h"
#include "worker/data/sampler.h"
#include "worker/data/sentencepiece_tokenizer.h"
#include "worker/models/xlmr_config.h"
#include "worker/problems/autograd_problem.h"
#include "worker/problems/metaxl_data.h"
#include "worker/problems/metaxl_model.h"
#include "worker/problems/metaxl_score.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

using v1::MetaXl;

// What parts of the model begin with different numbers for.
enum InitialisedPart : uint64_t { kEncoderPart = 1, kHeadPart = 2, kTransformationPart = 3 };

// MakeExampleBatch's tensors of one language within a batch.
struct Side {
  static constexpr size_t kTensors = 4;

  const at::Tensor& inputs;  // ids, or hidden states that PrepareMembers made of them
  const at::Tensor& mask;
  const at::Tensor& labels;
  const at::Tensor& scales;
};

Side SideAt(const Batch& batch, size_t first) {
  return {batch.tensors[first], batch.tensors[first + 1], batch.tensors[first + 2],
          batch.tensors[first + 3]};
}

// [N, ..., labels] and [N, ...] -> [N]: each example's losses summed.
at::Tensor LossSums(const at::Tensor& scores, const at::Tensor& labels) {
  const at::Tensor losses =
      at::cross_entropy_loss(scores.reshape({-1, scores.size(-1)}), labels.reshape({-1}),
                             /*weight=*/{}, at::Reduction::None, /*ignore_index=*/kNoLabel);
  return losses.view({labels.size(0), -1}).sum(1);
}

absl::Status CheckBelongTogether(const MetaXl& spec, const XlmrConfig& config,
                                 const SentencePieceTokenizer& tokenizer) {
  if (tokenizer.vocabulary_size() > config.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(spec.encoder_dir(), ": sentencepiece.bpe.model makes ids up to ",
                     tokenizer.vocabulary_size() - 1, " but config.json has vocab_size ",
                     config.vocab_size, "; they do not belong together"));
  }
  if (!spec.published_quirks() && tokenizer.pad_id() != config.pad_token_id) {
    return absl::InvalidArgumentError(
        absl::StrCat(spec.encoder_dir(), ": config.json has pad_token_id ", config.pad_token_id,
                     "; XLM-R's is ", tokenizer.pad_id()));
  }
  return absl::OkStatus();
}

class MetaXlProblem : public AutogradProblem {
 public:
  MetaXlProblem(const v1::JobSpec& spec, std::shared_ptr<MetaXlModel> model, MetaXlData data,
                int64_t pad_id, const at::Device& device, const std::atomic<bool>& cancelled)
      : AutogradProblem(model, TypeOf(spec.data_type()), device,
                        [model](const std::string& name) { return model->Perturbed(name); }),
        spec_(spec.problem().metaxl()),
        model_(std::move(model)),
        data_(std::move(data)),
        pad_id_(pad_id),
        source_order_(DeriveSeed(spec.seed(), seed_domain::kTrainBatch, 0, 0)),
        target_order_(DeriveSeed(spec.seed(), seed_domain::kTrainBatch, 1, 0)),
        cancelled_(cancelled) {
    if (spec_.training() == MetaXl::METAXL) {
      initial_hyperparameters_ = model_->transformation().Initial(
          DeriveSeed(spec.seed(), seed_domain::kInitialisation, kTransformationPart, 0));
    }
  }

  std::vector<std::string> hyperparameter_names() const override {
    if (initial_hyperparameters_.empty()) return {};
    return model_->transformation().names();
  }
  std::vector<double> initial_hyperparameters() const override { return initial_hyperparameters_; }
  bool base_first() const override { return false; }

  absl::Status Initialise(uint64_t seed) override {
    return CatchTorch([&]() -> absl::Status {
      const auto part = [seed](InitialisedPart which) {
        return DeriveSeed(seed, seed_domain::kInitialisation, which, 0);
      };
      model_->InitialiseHead(part(kHeadPart));
      if (spec_.random_encoder()) {
        model_->encoder().Initialise(part(kEncoderPart));
        return absl::OkStatus();
      }
      EVOGRAD_ASSIGN_OR_RETURN(const SafetensorsReader file,
                               SafetensorsReader::OpenModel(spec_.encoder_dir()));
      std::vector<NamedTensor> targets;
      for (const auto& item : model_->encoder().named_parameters()) {
        targets.push_back({item.key(), item.value().detach()});
      }
      return LoadInto(targets, file, {{"roberta."}, XlmrEncoder::IgnoredWeights()});
    });
  }

  absl::StatusOr<Batch> TrainBatch(int64_t step) override {
    return CatchTorch([&]() -> absl::StatusOr<Batch> {
      Batch batch;
      if (has_source()) {
        batch = MakeBatch(data_.source_train, BatchIndices(source_order_, data_.source_train.size(),
                                                           spec_.batch_size(), step));
      }
      std::vector<int64_t> target = TargetIndices(step);
      if (spec_.training() == MetaXl::METAXL) target.resize(target.size() / 2);
      const Batch side = MakeBatch(data_.target_train, target);
      batch.tensors.insert(batch.tensors.end(), side.tensors.begin(), side.tensors.end());
      return batch;
    });
  }

  absl::StatusOr<Batch> ValidationBatch(int64_t step) override {
    return CatchTorch([&]() -> absl::StatusOr<Batch> {
      const std::vector<int64_t> target = TargetIndices(step);
      return MakeBatch(data_.target_train, {target.begin() + target.size() / 2, target.end()});
    });
  }

  absl::StatusOr<Batch> PrepareMembers(const Batch& batch, const at::Tensor& lambda) override {
    if (!model_->has_shared_pass()) return batch;
    return CatchTorch([&]() -> absl::StatusOr<Batch> {
      const at::NoGradGuard no_grad;
      model_->train();
      Batch prepared = batch;
      for (size_t first = 0; first < batch.tensors.size(); first += Side::kTensors) {
        const Side side = SideAt(batch, first);
        prepared.tensors[first] =
            model_->SharedHidden(side.inputs, side.mask, IsTransformed(batch, first));
      }
      return prepared;
    });
  }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) override {
    return CatchTorch([&]() -> absl::StatusOr<ProblemEvaluation> {
      ProblemEvaluation evaluation;
      EVOGRAD_RETURN_IF_ERROR(
          EvaluateSet("target_dev", data_.target_dev, at::Tensor(), false, &evaluation));
      EVOGRAD_RETURN_IF_ERROR(
          EvaluateSet("target_test", data_.target_test, at::Tensor(), true, &evaluation));
      if (has_source()) {
        const at::Tensor source_lambda =
            spec_.training() == MetaXl::METAXL ? lambda.detach() : at::Tensor();
        EVOGRAD_RETURN_IF_ERROR(
            EvaluateSet("source_dev", data_.source_dev, source_lambda, false, &evaluation));
      }
      return evaluation;
    });
  }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    model_->train();
    at::Tensor loss;
    for (size_t first = 0; first < batch.tensors.size(); first += Side::kTensors) {
      const at::Tensor part =
          Loss(SideAt(batch, first), IsTransformed(batch, first) ? lambda : at::Tensor());
      loss = loss.defined() ? loss + part : part;
    }
    return loss;
  }

  at::Tensor ValidationLoss(const Batch& batch) override {
    model_->train(spec_.validation_dropout());
    return Loss(SideAt(batch, 0), at::Tensor());
  }

 private:
  bool has_source() const { return !data_.source_train.empty(); }
  bool tagging() const { return spec_.task() == MetaXl::TAGGING; }

  // Whether the side that begins at tensor `first` is the source's and there is a transformation.
  bool IsTransformed(const Batch& batch, size_t first) const {
    return spec_.training() == MetaXl::METAXL && batch.tensors.size() > Side::kTensors &&
           first == 0;
  }

  std::vector<int64_t> TargetIndices(int64_t step) const {
    return BatchIndices(target_order_, data_.target_train.size(), spec_.target_batch_size(), step);
  }

  Batch MakeBatch(const Examples& examples, const std::vector<int64_t>& indices) const {
    return MakeExampleBatch(examples, indices, pad_id_, tagging(), options());
  }

  at::Tensor Loss(const Side& side, const at::Tensor& lambda) {
    const at::Tensor scores = model_->Scores(side.inputs, side.mask, lambda);
    return (LossSums(scores, side.labels) * side.scales).mean();
  }

  absl::Status EvaluateSet(const std::string& name, const Examples& examples,
                           const at::Tensor& lambda, bool each_type,
                           ProblemEvaluation* evaluation) {
    const at::NoGradGuard no_grad;
    model_->eval();
    MetaXlScore score(data_, spec_);
    // Sequences of like length share a batch: less of it is padding.
    std::vector<int64_t> order(examples.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return examples[a].ids.size() < examples[b].ids.size();
    });
    for (size_t first = 0; first < order.size();) {
      if (cancelled_.load(std::memory_order_relaxed)) {
        return absl::CancelledError("the evaluation was cancelled");
      }
      const size_t last = std::min(order.size(), first + spec_.evaluation_batch_size());
      const std::vector<int64_t> indices(order.begin() + first, order.begin() + last);
      const Batch batch = MakeBatch(examples, indices);
      const Side side = SideAt(batch, 0);
      const at::Tensor scores = model_->Scores(side.inputs, side.mask, lambda);
      const at::Tensor losses = LossSums(scores, side.labels).to(at::kCPU, at::kDouble);
      const at::Tensor best = scores.argmax(-1).to(at::kCPU).contiguous();
      const int64_t stride = best.numel() / static_cast<int64_t>(indices.size());
      for (size_t row = 0; row < indices.size(); ++row) {
        score.Add(examples[indices[row]],
                  best.const_data_ptr<int64_t>() + static_cast<int64_t>(row) * stride,
                  losses.const_data_ptr<double>()[row]);
      }
      first = last;
    }
    score.AddMetrics(name, each_type, evaluation);
    return absl::OkStatus();
  }

  const MetaXl spec_;
  const std::shared_ptr<MetaXlModel> model_;
  const MetaXlData data_;
  const int64_t pad_id_;
  const uint64_t source_order_;
  const uint64_t target_order_;
  const std::atomic<bool>& cancelled_;
  std::vector<double> initial_hyperparameters_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakeMetaXl(const v1::JobSpec& spec,
                                                    const std::string& device,
                                                    const std::atomic<bool>& cancelled) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<Problem>> {
    const MetaXl& metaxl = spec.problem().metaxl();
    EVOGRAD_ASSIGN_OR_RETURN(const XlmrConfig config,
                             ReadXlmrConfig(absl::StrCat(metaxl.encoder_dir(), "/config.json")));
    EVOGRAD_ASSIGN_OR_RETURN(
        const SentencePieceTokenizer tokenizer,
        SentencePieceTokenizer::Open(absl::StrCat(metaxl.encoder_dir(), "/sentencepiece.bpe.model"),
                                     metaxl.published_quirks()));
    EVOGRAD_RETURN_IF_ERROR(CheckBelongTogether(metaxl, config, tokenizer));
    EVOGRAD_ASSIGN_OR_RETURN(
        MetaXlData data,
        ReadMetaXlData(metaxl, tokenizer, config.max_tokens(metaxl.published_quirks()), cancelled));
    EVOGRAD_ASSIGN_OR_RETURN(std::shared_ptr<MetaXlModel> model,
                             MetaXlModel::Create(metaxl, config, data.labels.size()));
    return std::make_unique<MetaXlProblem>(spec, std::move(model), std::move(data),
                                           tokenizer.pad_id(), at::Device(device), cancelled);
  });
}

}  // namespace evograd
