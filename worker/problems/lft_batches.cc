#include "worker/problems/lft_batches.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/sampler.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

// Kinds of pictures in a step, each with random choices of its own.
enum Kind { kTrain = 0, kValidation = 1, kAuxiliary = 2 };

constexpr double kAuxiliaryDecay = 0.9;
constexpr int64_t kAuxiliaryDecays = 20;

EpisodeShape ShapeOf(const v1::Lft& spec) {
  return {spec.way(), spec.shot(), spec.query(), spec.repeat_images()};
}

// Room for the batches of this step and the next.
ImageLoaderOptions LoaderOptions(const v1::Lft& spec) {
  const int64_t images =
      2 * spec.episodes_per_step() * ShapeOf(spec).images() + spec.auxiliary_batch_size();
  const int64_t bytes =
      images * 3 * spec.image_extent() * spec.image_extent() * static_cast<int64_t>(sizeof(float));
  ImageLoaderOptions options;
  options.extent = spec.image_extent();
  options.threads = spec.loader_threads();
  options.prefetch_bytes = std::min(2 * bytes, limits::kMaxPrefetchBytes);
  options.cache_bytes = int64_t{spec.image_cache_mib()} << 20;
  return options;
}

absl::StatusOr<ImageList> ReadDomain(const std::string& data_dir, const std::string& domain,
                                     const std::string& split) {
  return ReadImageList(absl::StrCat(data_dir, "/", domain, "/", split, ".json"));
}

}  // namespace

absl::StatusOr<std::vector<ImageList>> ReadDomains(
    const std::string& data_dir, const google::protobuf::RepeatedPtrField<std::string>& domains,
    const std::string& split, const std::atomic<bool>& cancelled) {
  std::vector<ImageList> lists;
  for (const std::string& domain : domains) {
    if (cancelled.load(std::memory_order_relaxed)) {
      return absl::CancelledError("reading the file lists was cancelled");
    }
    EVOGRAD_ASSIGN_OR_RETURN(ImageList list, ReadDomain(data_dir, domain, split));
    lists.push_back(std::move(list));
  }
  return lists;
}

absl::Status CheckEpisodes(const std::vector<ImageList>& lists, const EpisodeShape& shape) {
  for (const ImageList& list : lists) {
    EVOGRAD_RETURN_IF_ERROR(
        CheckClasses(list, shape.ways, shape.images_per_way(), shape.repeat_images));
  }
  return absl::OkStatus();
}

LftBatches::LftBatches(const v1::JobSpec& spec, const at::TensorOptions& options,
                       const std::atomic<bool>& cancelled)
    : spec_(spec.problem().lft()),
      seed_(spec.seed()),
      steps_(spec.steps()),
      epochs_((spec.steps() + spec_.steps_per_epoch() - 1) / spec_.steps_per_epoch()),
      options_(options),
      shape_(ShapeOf(spec_)),
      loader_(LoaderOptions(spec_), cancelled) {}

absl::StatusOr<std::unique_ptr<LftBatches>> LftBatches::Read(const v1::JobSpec& spec,
                                                             const at::TensorOptions& options,
                                                             const std::atomic<bool>& cancelled) {
  std::unique_ptr<LftBatches> batches(new LftBatches(spec, options, cancelled));
  const v1::Lft& lft = batches->spec_;
  EVOGRAD_ASSIGN_OR_RETURN(batches->seen_,
                           ReadDomains(lft.data_dir(), lft.seen_domains(), "base", cancelled));
  EVOGRAD_RETURN_IF_ERROR(CheckEpisodes(batches->seen_, batches->shape_));
  EVOGRAD_ASSIGN_OR_RETURN(batches->auxiliary_,
                           ReadDomain(lft.data_dir(), lft.auxiliary_domain(), "base"));
  return batches;
}

std::vector<const ImageList*> LftBatches::lists() const {
  std::vector<const ImageList*> lists;
  for (const ImageList& list : seen_) lists.push_back(&list);
  if (spec_.auxiliary_weight() != 0) lists.push_back(&auxiliary_);
  return lists;
}

DomainPair LftBatches::PairAt(int64_t step) const {
  if (seen_.size() == 1) return {0, 0};
  return DrawDomainPair(DeriveSeed(seed_, seed_domain::kDataSplit, 0, 0),
                        step / spec_.steps_per_epoch(), static_cast<int>(seen_.size()));
}

uint64_t LftBatches::AugmentationSeed(int64_t step, int kind, size_t position) const {
  return DeriveSeed(seed_, seed_domain::kAugmentation, step,
                    (static_cast<uint64_t>(kind) << 32) | position);
}

std::vector<ImageRequest> LftBatches::Episodes(int64_t step, bool training) const {
  const DomainPair pair = PairAt(step);
  const ImageList& list = seen_[training ? pair.seen : pair.unseen];
  const uint64_t seed =
      DeriveSeed(seed_, training ? seed_domain::kTrainBatch : seed_domain::kValidationBatch, 0, 0);
  std::vector<ImageRequest> requests;
  for (int64_t i = 0; i < spec_.episodes_per_step(); ++i) {
    for (const int64_t image : DrawEpisode(list, shape_, seed, step, i).images) {
      const uint64_t augmentation =
          AugmentationSeed(step, training ? kTrain : kValidation, requests.size());
      requests.push_back({list.images[image], augmentation});
    }
  }
  return requests;
}

std::vector<int64_t> LftBatches::AuxiliaryExamples(int64_t step) const {
  if (spec_.auxiliary_weight() == 0) return {};
  return BatchIndices(DeriveSeed(seed_, seed_domain::kTrainBatch, 0, 1),
                      static_cast<int64_t>(auxiliary_.images.size()), spec_.auxiliary_batch_size(),
                      step);
}

std::vector<ImageRequest> LftBatches::TrainRequests(int64_t step) const {
  std::vector<ImageRequest> requests = Episodes(step, /*training=*/true);
  const std::vector<int64_t> auxiliary = AuxiliaryExamples(step);
  for (size_t i = 0; i < auxiliary.size(); ++i) {
    requests.push_back({auxiliary_.images[auxiliary[i]], AugmentationSeed(step, kAuxiliary, i)});
  }
  return requests;
}

double LftBatches::AuxiliaryWeight(int64_t step) const {
  const int64_t epoch = step / spec_.steps_per_epoch();
  return spec_.auxiliary_weight() *
         std::pow(kAuxiliaryDecay, static_cast<double>(kAuxiliaryDecays * epoch / epochs_));
}

at::Tensor LftBatches::CutEpisodes(const at::Tensor& images) const {
  return images.narrow(0, 0, EpisodeImages())
      .unflatten(0, {spec_.episodes_per_step(), shape_.images()});
}

// The loader's keys: 2 step for training, 2 step + 1 for validation.
absl::StatusOr<Batch> LftBatches::Train(int64_t step) {
  return CatchTorch([&]() -> absl::StatusOr<Batch> {
    if (spec_.transformation() == v1::Lft::LEARNED) {
      loader_.Prefetch(2 * step + 1, Episodes(step, /*training=*/false));
    }
    if (step + 1 < steps_) loader_.Prefetch(2 * step + 2, TrainRequests(step + 1));
    EVOGRAD_ASSIGN_OR_RETURN(at::Tensor images, loader_.Load(2 * step, TrainRequests(step)));
    images = images.to(options_);
    Batch batch{{CutEpisodes(images)}};
    const std::vector<int64_t> auxiliary = AuxiliaryExamples(step);
    if (auxiliary.empty()) return batch;
    const int64_t count = static_cast<int64_t>(auxiliary.size());
    std::vector<int64_t> classes;
    for (const int64_t example : auxiliary) classes.push_back(auxiliary_.classes_of[example]);
    batch.tensors.push_back(images.narrow(0, EpisodeImages(), count));
    batch.tensors.push_back(at::tensor(classes, at::kLong).to(options_.device()));
    batch.tensors.push_back(at::full({count}, AuxiliaryWeight(step), options_));
    return batch;
  });
}

absl::StatusOr<Batch> LftBatches::Validation(int64_t step) {
  if (spec_.transformation() != v1::Lft::LEARNED) return Batch();
  return CatchTorch([&]() -> absl::StatusOr<Batch> {
    EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor images,
                             loader_.Load(2 * step + 1, Episodes(step, /*training=*/false)));
    return Batch{{CutEpisodes(images.to(options_))}};
  });
}

}  // namespace evograd
