#include "worker/problems/lft.h"

#include <ATen/Functions.h>
#include <torch/nn/module.h>

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "algo/seed.h"
#include "common/status_macros.h"
#include "worker/data/image_check.h"
#include "worker/models/classifier_head.h"
#include "worker/models/initialisation.h"
#include "worker/models/relation_net.h"
#include "worker/problems/autograd_problem.h"
#include "worker/problems/episode_evaluation.h"
#include "worker/problems/job_backbone.h"
#include "worker/problems/lft_batches.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

using Domains = google::protobuf::RepeatedPtrField<std::string>;

constexpr int kAuxiliaryHiddenLayers = 2;
constexpr char kAuxiliary[] = "auxiliary";

// What an evaluation is about.
enum class Classes { kValidation, kNovel };

std::string MetricSuffix(const std::string& domain) {
  return absl::AsciiStrToLower(absl::StrReplaceAll(domain, {{"-", "_"}, {".", "_"}}));
}

struct Network {
  std::shared_ptr<RelationNet> relation_net;
  std::shared_ptr<ClassifierHead> auxiliary;  // a child of it
};

Network MakeNetwork(const v1::Lft& spec, int64_t auxiliary_classes) {
  Network network;
  network.relation_net =
      std::make_shared<RelationNet>(MakeBackbone(spec.backbone()), spec.image_extent());
  network.auxiliary = network.relation_net->register_module(
      kAuxiliary, std::make_shared<ClassifierHead>(network.relation_net->feature().channels(),
                                                   kAuxiliaryHiddenLayers, auxiliary_classes));
  return network;
}

struct Data {
  std::unique_ptr<LftBatches> batches;
  std::vector<ImageList> validation;  // per seen domain
  std::vector<ImageList> novel;       // per test domain
};

class Lft : public AutogradProblem {
 public:
  Lft(const v1::JobSpec& spec, Network network, const at::Device& device, Data data,
      const std::atomic<bool>& cancelled)
      : AutogradProblem(network.relation_net, TypeOf(spec.data_type()), device,
                        [](const std::string& name) {
                          return !absl::StartsWith(name, absl::StrCat(kAuxiliary, "."));
                        }),
        spec_(spec.problem().lft()),
        seed_(spec.seed()),
        members_share_base_pass_(spec.estimator().kind() == v1::Estimator::EVOGRAD_SHARED),
        net_(std::move(network.relation_net)),
        auxiliary_(std::move(network.auxiliary)),
        data_(std::move(data)),
        labels_(QueryLabels(spec_.way(), spec_.query()).to(device)),
        cancelled_(cancelled) {}

  std::vector<std::string> hyperparameter_names() const override {
    if (!transforms()) return {};
    return net_->feature().sites().names();
  }
  std::vector<double> initial_hyperparameters() const override {
    if (!transforms()) return {};
    return net_->feature().sites().values(spec_.initial_gamma(), spec_.initial_beta());
  }
  bool base_first() const override { return true; }

  absl::Status Initialise(uint64_t seed) override {
    return CatchTorch([&] {
      InitialiseWeights(seed, net_.get());
      if (spec_.pretrained().empty()) return absl::OkStatus();
      return LoadPretrained(spec_.pretrained(), &net_->feature());
    });
  }

  absl::StatusOr<Batch> TrainBatch(int64_t step) override { return data_.batches->Train(step); }
  absl::StatusOr<Batch> ValidationBatch(int64_t step) override {
    return data_.batches->Validation(step);
  }

  absl::StatusOr<Batch> PrepareMembers(const Batch& batch, const at::Tensor&) override {
    if (members_share_base_pass_) return batch;
    return Batch{{batch.tensors[0]}};
  }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) override {
    return Score(Classes::kNovel, lambda);
  }
  absl::StatusOr<ProblemEvaluation> EvaluateBetweenSteps(const at::Tensor& lambda) override {
    return Score(Classes::kValidation, lambda);
  }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    at::Tensor auxiliary;
    // Before the episodes move the running statistics.
    if (batch.tensors.size() > 1) auxiliary = AuxiliaryLoss(batch);
    const at::Tensor loss =
        EpisodeLoss(batch.tensors[0], {/*training=*/true, transforms() ? lambda : at::Tensor()});
    return auxiliary.defined() ? loss + auxiliary : loss;
  }

  at::Tensor ValidationLoss(const Batch& batch) override {
    return EpisodeLoss(batch.tensors[0], FeaturePass());
  }

 private:
  bool transforms() const { return spec_.transformation() != v1::Lft::NONE; }

  at::Tensor EpisodeLoss(const at::Tensor& episodes, const FeaturePass& pass) {
    at::Tensor sum;
    for (int64_t i = 0; i < episodes.size(0); ++i) {
      const at::Tensor scores = net_->Forward(episodes[i], {spec_.way(), spec_.shot()}, pass);
      const at::Tensor loss = at::cross_entropy_loss(scores, labels_);
      sum = sum.defined() ? sum + loss : loss;
    }
    return sum / episodes.size(0);
  }

  at::Tensor AuxiliaryLoss(const Batch& batch) {
    const at::Tensor logits =
        auxiliary_->Forward(net_->feature().Forward(batch.tensors[1], FeaturePass()));
    const at::Tensor losses =
        at::cross_entropy_loss(logits, batch.tensors[2], {}, at::Reduction::None);
    return (losses * batch.tensors[3]).mean();
  }

  absl::StatusOr<ProblemEvaluation> Score(Classes classes, const at::Tensor& lambda) {
    return CatchTorch([&]() -> absl::StatusOr<ProblemEvaluation> {
      const bool novel = classes == Classes::kNovel;
      const Domains& domains = novel ? spec_.test_domains() : spec_.seen_domains();
      const std::vector<ImageList>& lists = novel ? data_.novel : data_.validation;
      const std::string prefix = novel ? "" : "validation_";
      EpisodeEvaluation what;
      what.shape = {spec_.way(), spec_.shot(), spec_.evaluation_query(), spec_.repeat_images()};
      what.episodes = novel ? spec_.evaluation_episodes() : spec_.validation_episodes();
      what.extent = spec_.image_extent();
      what.threads = spec_.loader_threads();
      what.options = options();
      ProblemEvaluation evaluation;
      for (size_t i = 0; i < lists.size(); ++i) {
        const uint64_t seed = DeriveSeed(seed_, seed_domain::kEvaluation, novel ? 1 : 0, i);
        EVOGRAD_ASSIGN_OR_RETURN(const EpisodeScore score,
                                 EvaluateEpisodes(lists[i], what, seed, cancelled_, net_.get()));
        const std::string suffix = MetricSuffix(domains[i]);
        evaluation.metrics[absl::StrCat(prefix, "accuracy_", suffix)] = score.accuracy;
        evaluation.metrics[absl::StrCat(prefix, "interval_", suffix)] = score.interval;
      }
      if (spec_.transformation() == v1::Lft::LEARNED) AddSpreads(lambda, &evaluation);
      return evaluation;
    });
  }

  void AddSpreads(const at::Tensor& lambda, ProblemEvaluation* evaluation) {
    const std::vector<double> is_gamma = net_->feature().sites().values(1, 0);
    double sums[2] = {0, 0};  // of betas, of gammas
    const at::Tensor values = lambda.to(at::kCPU, at::kDouble);
    for (size_t i = 0; i < is_gamma.size(); ++i) {
      sums[is_gamma[i] == 1 ? 1 : 0] += values[static_cast<int64_t>(i)].item<double>();
    }
    const double count = static_cast<double>(is_gamma.size()) / 2;
    evaluation->metrics["gamma"] = sums[1] / count;
    evaluation->metrics["beta"] = sums[0] / count;
  }

  const v1::Lft spec_;
  const uint64_t seed_;
  const bool members_share_base_pass_;
  const std::shared_ptr<RelationNet> net_;
  const std::shared_ptr<ClassifierHead> auxiliary_;
  const Data data_;
  const at::Tensor labels_;
  const std::atomic<bool>& cancelled_;
};

absl::StatusOr<Data> ReadData(const v1::JobSpec& spec, const at::Device& device,
                              const std::atomic<bool>& cancelled) {
  const v1::Lft& lft = spec.problem().lft();
  const EpisodeShape shape{lft.way(), lft.shot(), lft.evaluation_query(), lft.repeat_images()};
  const at::TensorOptions options =
      at::TensorOptions().dtype(TypeOf(spec.data_type())).device(device);
  Data data;
  EVOGRAD_ASSIGN_OR_RETURN(data.batches, LftBatches::Read(spec, options, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(data.validation,
                           ReadDomains(lft.data_dir(), lft.seen_domains(), "val", cancelled));
  EVOGRAD_RETURN_IF_ERROR(CheckEpisodes(data.validation, shape));
  EVOGRAD_ASSIGN_OR_RETURN(data.novel,
                           ReadDomains(lft.data_dir(), lft.test_domains(), "novel", cancelled));
  EVOGRAD_RETURN_IF_ERROR(CheckEpisodes(data.novel, shape));
  std::vector<const ImageList*> used = data.batches->lists();
  // Evaluations between steps are the only ones that read the validation classes.
  if (spec.evaluation_interval_steps() > 0) {
    for (const ImageList& list : data.validation) used.push_back(&list);
  }
  for (const ImageList& list : data.novel) used.push_back(&list);
  EVOGRAD_RETURN_IF_ERROR(CheckImageLists(used, cancelled));
  return data;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakeLft(const v1::JobSpec& spec, const std::string& device,
                                                 const std::atomic<bool>& cancelled) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<Problem>> {
    const at::Device where(device);
    EVOGRAD_ASSIGN_OR_RETURN(Data data, ReadData(spec, where, cancelled));
    Network network = MakeNetwork(spec.problem().lft(), data.batches->auxiliary_classes());
    return std::make_unique<Lft>(spec, std::move(network), where, std::move(data), cancelled);
  });
}

}  // namespace evograd
