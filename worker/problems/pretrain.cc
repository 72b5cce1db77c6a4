#include "worker/problems/pretrain.h"

#include <ATen/Functions.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/image_check.h"
#include "worker/data/image_loader.h"
#include "worker/data/sampler.h"
#include "worker/models/classifier_head.h"
#include "worker/models/initialisation.h"
#include "worker/problems/autograd_problem.h"
#include "worker/problems/job_backbone.h"
#include "worker/problems/lft_batches.h"
#include "worker/problems/test_pictures.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

struct Examples {
  std::vector<std::string> paths;
  std::vector<int64_t> classes;

  int64_t size() const { return static_cast<int64_t>(paths.size()); }
  void Add(const std::string& path, int64_t of) {
    paths.push_back(path);
    classes.push_back(of);
  }
};

struct Split {
  Examples train;
  Examples held_out;
  int64_t classes = 0;
};

// At least one of each class is trained on.
int64_t HeldOut(double share, int64_t images) {
  if (share == 0) return 0;
  return std::min(std::max<int64_t>(1, static_cast<int64_t>(share * images)), images - 1);
}

Split SplitOf(const std::vector<ImageList>& lists, double held_out_share, uint64_t seed) {
  Split split;
  for (const ImageList& list : lists) {
    for (const ImageClass& one : list.classes) {
      const int64_t images = static_cast<int64_t>(one.images.size());
      const int64_t held_out = HeldOut(held_out_share, images);
      const uint64_t order = DeriveSeed(seed, seed_domain::kDataSplit, split.classes, 0);
      for (int64_t i = 0; i < images; ++i) {
        const int64_t position = static_cast<int64_t>(PermutedIndex(order, 0, i, images));
        Examples& part = position < held_out ? split.held_out : split.train;
        part.Add(list.images[one.images[i]], split.classes);
      }
      ++split.classes;
    }
  }
  return split;
}

struct Network {
  std::shared_ptr<torch::nn::Module> whole;
  std::shared_ptr<Backbone> feature;
  std::shared_ptr<ClassifierHead> classifier;
};

Network MakeNetwork(const v1::Pretrain& spec, int64_t classes) {
  Network network;
  network.whole = std::make_shared<torch::nn::Module>();
  network.feature = network.whole->register_module("feature", MakeBackbone(spec.backbone()));
  network.classifier = network.whole->register_module(
      "classifier", std::make_shared<ClassifierHead>(network.feature->channels(),
                                                     /*hidden_layers=*/0, classes));
  return network;
}

ImageLoaderOptions LoaderOptions(const v1::Pretrain& spec) {
  ImageLoaderOptions options;
  options.extent = spec.image_extent();
  options.threads = spec.loader_threads();
  options.prefetch_bytes = limits::kMaxPrefetchBytes;
  options.cache_bytes = int64_t{spec.image_cache_mib()} << 20;
  return options;
}

class Pretrain : public AutogradProblem {
 public:
  Pretrain(const v1::JobSpec& spec, Network network, const at::Device& device, Split split,
           const std::atomic<bool>& cancelled)
      : AutogradProblem(network.whole, TypeOf(spec.data_type()), device),
        spec_(spec.problem().pretrain()),
        seed_(spec.seed()),
        steps_(spec.steps()),
        net_(std::move(network)),
        split_(std::move(split)),
        cancelled_(cancelled),
        loader_(LoaderOptions(spec_), cancelled) {}

  std::vector<std::string> hyperparameter_names() const override { return {}; }
  std::vector<double> initial_hyperparameters() const override { return {}; }
  bool base_first() const override { return true; }

  absl::Status Initialise(uint64_t seed) override {
    return CatchTorch([&] {
      InitialiseWeights(seed, net_.whole.get());
      return absl::OkStatus();
    });
  }

  // Pictures [B, 3, S, S] and their classes [B].
  absl::StatusOr<Batch> TrainBatch(int64_t step) override {
    return CatchTorch([&]() -> absl::StatusOr<Batch> {
      if (step + 1 < steps_) loader_.Prefetch(step + 1, Requests(step + 1));
      EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor images, loader_.Load(step, Requests(step)));
      std::vector<int64_t> classes;
      for (const int64_t i : Indices(step)) classes.push_back(split_.train.classes[i]);
      return Batch{{images.to(options()), at::tensor(classes, at::kLong).to(device())}};
    });
  }
  absl::StatusOr<Batch> ValidationBatch(int64_t) override { return Batch(); }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor&) override {
    return CatchTorch([&]() -> absl::StatusOr<ProblemEvaluation> {
      const at::NoGradGuard no_grad;
      const Examples& examples = split_.held_out.size() > 0 ? split_.held_out : split_.train;
      double right = 0;
      double loss = 0;
      EVOGRAD_RETURN_IF_ERROR(ForEachTestBatch(
          {examples.paths, spec_.image_extent(), spec_.loader_threads(), options()}, cancelled_,
          [&](const at::Tensor& images, int64_t first) {
            const auto begin = examples.classes.begin() + first;
            const at::Tensor labels =
                at::tensor(std::vector<int64_t>(begin, begin + images.size(0)), at::kLong)
                    .to(device());
            const at::Tensor logits = Logits(images, FeaturePass());
            right += logits.argmax(1).eq(labels).sum().item<double>();
            loss += at::cross_entropy_loss(logits, labels).item<double>() *
                    static_cast<double>(images.size(0));
          }));
      const double count = static_cast<double>(examples.size());
      return ProblemEvaluation{{{"accuracy", right / count}, {"loss", loss / count}}, {}};
    });
  }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor&) override {
    FeaturePass pass;
    pass.training = true;
    return at::cross_entropy_loss(Logits(batch.tensors[0], pass), batch.tensors[1]);
  }
  // Nobody asks: estimator NONE.
  at::Tensor ValidationLoss(const Batch& batch) override {
    return at::cross_entropy_loss(Logits(batch.tensors[0], FeaturePass()), batch.tensors[1]);
  }

 private:
  at::Tensor Logits(const at::Tensor& images, const FeaturePass& pass) {
    return net_.classifier->Forward(net_.feature->Forward(images, pass));
  }

  std::vector<int64_t> Indices(int64_t step) const {
    return BatchIndices(DeriveSeed(seed_, seed_domain::kTrainBatch, 0, 0), split_.train.size(),
                        spec_.batch_size(), step);
  }

  std::vector<ImageRequest> Requests(int64_t step) const {
    std::vector<ImageRequest> requests;
    for (const int64_t i : Indices(step)) {
      requests.push_back({split_.train.paths[i],
                          DeriveSeed(seed_, seed_domain::kAugmentation, step, requests.size())});
    }
    return requests;
  }

  const v1::Pretrain spec_;
  const uint64_t seed_;
  const int64_t steps_;
  const Network net_;
  const Split split_;
  const std::atomic<bool>& cancelled_;
  ImageLoader loader_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakePretrain(const v1::JobSpec& spec,
                                                      const std::string& device,
                                                      const std::atomic<bool>& cancelled) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<Problem>> {
    const v1::Pretrain& pretrain = spec.problem().pretrain();
    EVOGRAD_ASSIGN_OR_RETURN(
        const std::vector<ImageList> lists,
        ReadDomains(pretrain.data_dir(), pretrain.domains(), "base", cancelled));
    Split split = SplitOf(lists, pretrain.held_out_share(), spec.seed());
    if (split.classes < 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("problem.pretrain.domains: ", lists[0].path,
                       " has one class only, so there is nothing to tell apart"));
    }
    std::vector<const ImageList*> used;
    for (const ImageList& list : lists) used.push_back(&list);
    EVOGRAD_RETURN_IF_ERROR(CheckImageLists(used, cancelled));
    Network network = MakeNetwork(pretrain, split.classes);
    return std::make_unique<Pretrain>(spec, std::move(network), at::Device(device),
                                      std::move(split), cancelled);
  });
}

}  // namespace evograd
