#include "worker/problems/noisy_images.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/status_macros.h"
#include "worker/data/crop_flip.h"
#include "worker/data/sampler.h"

namespace evograd {
namespace {

using Mwn = v1::MetaWeightNet;

constexpr char kAt[] = "problem.meta_weight_net.";
constexpr int kPadding = 4;
constexpr int kTrainStream = 0;
constexpr int kMetaStream = 1;
constexpr int64_t kNotAugmented = -1;

absl::Status Invalid(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(kAt, field, ": ", what));
}

// `status` of something that a field asked for, with the field's folder before its message.
absl::Status InField(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kInvalidArgument) return status;
  return absl::InvalidArgumentError(absl::StrCat(kAt, status.message()));
}

absl::StatusOr<ImageFormat> FormatOf(const Mwn& spec) {
  switch (spec.data_format()) {
    case Mwn::CIFAR10:
      return ImageFormat::kCifar10;
    case Mwn::CIFAR100:
      return ImageFormat::kCifar100;
    case Mwn::IDX:
      return ImageFormat::kIdx;
    default: {
      const absl::StatusOr<ImageFormat> format = FindImageFormat(spec.data_dir());
      if (format.status().code() != absl::StatusCode::kInvalidArgument) return format;
      return Invalid("data_format", std::string(format.status().message()));
    }
  }
}

// What the files must have that only the files can tell.
absl::Status CheckData(const Mwn& spec, const ImageData& data) {
  const ImageSet& train = data.train;
  if (data.classes < 2) {
    return Invalid("data_dir", absl::StrCat(train.path, " has images of ", data.classes,
                                            " class(es); two are needed"));
  }
  if (spec.classes() != 0 && spec.classes() != data.classes) {
    return Invalid("classes", absl::StrCat(spec.classes(), " is wrong: ", train.path, " has ",
                                           data.classes, " classes; leave it out"));
  }
  if (spec.augmentation() && std::min(train.rows, train.columns) <= kPadding) {
    return Invalid("augmentation", absl::StrCat("pads by ", kPadding, " pixels, but ", train.path,
                                                " has images of ", train.rows, " x ", train.columns,
                                                "; set it to false"));
  }
  if (data.test.count() == 0 || spec.test_examples() > data.test.count()) {
    return Invalid("test_examples",
                   absl::StrCat(std::max<int64_t>(spec.test_examples(), 1), " is more than the ",
                                data.test.count(), " images of ", data.test.path));
  }
  return absl::OkStatus();
}

absl::Status CheckBatches(const Mwn& spec, const MetaSplit& split, const std::string& path) {
  if (spec.batch_size() > static_cast<int64_t>(split.train.size())) {
    return Invalid("batch_size", absl::StrCat(spec.batch_size(), " is more than the ",
                                              split.train.size(), " training images of ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<NoiseMatrix> NoiseOf(const Mwn& spec, const ImageData& data) {
  const double rate = spec.noise_rate();
  const bool coarse_known = data.format == ImageFormat::kCifar100;
  std::vector<int> coarse;
  if (coarse_known) {
    EVOGRAD_ASSIGN_OR_RETURN(coarse, CoarseClasses(data.train.labels, data.train.coarse_labels,
                                                   data.classes, data.train.path));
  }
  switch (spec.label_noise()) {
    case Mwn::UNIFORM:
      return UniformNoise(data.classes, rate);
    case Mwn::FLIP:
    case Mwn::FLIP2: {
      const int targets = spec.label_noise() == Mwn::FLIP ? 1 : 2;
      if (data.classes <= targets) {
        return Invalid("label_noise",
                       absl::StrCat("FLIP2 takes two other classes, but ", data.train.path, " has ",
                                    data.classes, " in all; use FLIP"));
      }
      return FlipNoise(data.classes, rate, targets, spec.flip_seed());
    }
    case Mwn::HIERARCHICAL:
      if (coarse_known) return HierarchicalNoise(coarse, rate);
      return Invalid("label_noise",
                     absl::StrCat("HIERARCHICAL needs the coarse classes of "
                                  "CIFAR-100, which ",
                                  data.train.path, " does not have; use UNIFORM, FLIP or FLIP2"));
    case Mwn::ASYMMETRIC:
      if (coarse_known) return Cifar100AsymmetricNoise(coarse, rate);
      if (data.format == ImageFormat::kCifar10) return Cifar10AsymmetricNoise(rate);
      return Invalid("label_noise",
                     absl::StrCat("ASYMMETRIC is published for CIFAR-10 and CIFAR-100, not for ",
                                  data.train.path, "; use UNIFORM, FLIP or FLIP2"));
    default:
      return NoiseMatrix(data.classes);
  }
}

at::Tensor Longs(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }

}  // namespace

absl::StatusOr<NoisyImages> NoisyImages::Read(const v1::JobSpec& job,
                                              const std::atomic<bool>& cancelled) {
  const Mwn& spec = job.problem().meta_weight_net();
  EVOGRAD_ASSIGN_OR_RETURN(const ImageFormat format, FormatOf(spec));
  EVOGRAD_ASSIGN_OR_RETURN(ImageData data,
                           ReadImageData(spec.data_dir(), format, spec.classes(), cancelled));
  EVOGRAD_RETURN_IF_ERROR(CheckData(spec, data));
  absl::StatusOr<MetaSplit> split =
      SplitMeta(data.train.labels, data.classes, spec.meta_examples(), spec.train_examples(),
                spec.data_seed(), data.train.path);
  if (!split.ok()) return InField(split.status());
  EVOGRAD_RETURN_IF_ERROR(CheckBatches(spec, *split, data.train.path));
  EVOGRAD_ASSIGN_OR_RETURN(NoiseMatrix noise, NoiseOf(spec, data));
  NoisyImages images(job, std::move(data), *std::move(split), std::move(noise));
  EVOGRAD_RETURN_IF_ERROR(images.FindScale());
  return images;
}

NoisyImages::NoisyImages(const v1::JobSpec& job, ImageData data, MetaSplit split, NoiseMatrix noise)
    : spec_(job.problem().meta_weight_net()),
      seed_(job.seed()),
      data_(std::move(data)),
      split_(std::move(split)),
      noise_(std::move(noise)),
      true_labels_(data_.train.labels),
      test_count_(spec_.test_examples() > 0 ? spec_.test_examples() : data_.test.count()) {
  for (const int64_t id : split_.train) {
    data_.train.labels[id] = NoisyLabel(noise_, true_labels_[id], spec_.data_seed(), id);
  }
}

absl::Status NoisyImages::FindScale() {
  if (data_.format != ImageFormat::kIdx) {
    // Those of the published code, for CIFAR-10 and CIFAR-100 alike.
    mean_ = {125.3 / 255, 123.0 / 255, 113.9 / 255};
    deviation_ = {63.0 / 255, 62.1 / 255, 66.7 / 255};
    return absl::OkStatus();
  }
  // Sums of whole numbers: exact, so the same everywhere.
  uint64_t sum = 0;
  uint64_t squares = 0;
  const ImageSet& set = data_.train;
  for (const int64_t id : split_.train) {
    for (int64_t i = 0; i < set.image_bytes(); ++i) {
      const uint64_t pixel = set.image(id)[i];
      sum += pixel;
      squares += pixel * pixel;
    }
  }
  const double count = static_cast<double>(split_.train.size()) * set.image_bytes();
  const double mean = sum / count / 255;
  const double variance = squares / count / (255.0 * 255.0) - mean * mean;
  if (!(variance > 0)) {
    return Invalid("data_dir", absl::StrCat("all pixels of ", set.path, " are the same"));
  }
  mean_ = {mean};
  deviation_ = {std::sqrt(variance)};
  return absl::OkStatus();
}

PixelBatch NoisyImages::Gather(const ImageSet& set, const std::vector<int64_t>& ids, int64_t step,
                               int stream) const {
  const int64_t count = ids.size();
  PixelBatch batch;
  batch.pixels = at::empty({count, set.channels, set.rows, set.columns}, at::kByte);
  batch.labels = at::empty({count}, at::kLong);
  uint8_t* pixels = batch.pixels.data_ptr<uint8_t>();
  int64_t* labels = batch.labels.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    uint8_t* to = pixels + i * set.image_bytes();
    if (step != kNotAugmented) {
      const CropFlip crop = DrawCropFlip(seed_, step, i, stream, kPadding);
      ApplyCropFlip(crop, kPadding, set.image(ids[i]), set.channels, set.rows, set.columns, to);
    } else {
      std::memcpy(to, set.image(ids[i]), set.image_bytes());
    }
    labels[i] = set.labels[ids[i]];
  }
  return batch;
}

PixelBatch NoisyImages::TrainBatch(int64_t step) const {
  std::vector<int64_t> ids = BatchIndices(DeriveSeed(seed_, seed_domain::kTrainBatch, 0, 0),
                                          train_count(), spec_.batch_size(), step);
  for (int64_t& id : ids) id = split_.train[id];
  return Gather(data_.train, ids, spec_.augmentation() ? step : kNotAugmented, kTrainStream);
}

PixelBatch NoisyImages::MetaBatch(int64_t step) const {
  std::vector<int64_t> ids = BatchIndices(DeriveSeed(seed_, seed_domain::kValidationBatch, 0, 0),
                                          split_.meta.size(), spec_.validation_batch_size(), step);
  for (int64_t& id : ids) id = split_.meta[id];
  return Gather(data_.train, ids, spec_.augmentation() ? step : kNotAugmented, kMetaStream);
}

PixelBatch NoisyImages::Train(const std::vector<int64_t>& positions) const {
  std::vector<int64_t> ids;
  for (const int64_t position : positions) ids.push_back(split_.train[position]);
  return Gather(data_.train, ids, kNotAugmented, kTrainStream);
}

PixelBatch NoisyImages::Test(int64_t first, int64_t count) const {
  std::vector<int64_t> ids(count);
  for (int64_t i = 0; i < count; ++i) ids[i] = first + i;
  return Gather(data_.test, ids, kNotAugmented, kTrainStream);
}

bool NoisyImages::IsNoisy(int64_t position) const {
  const int64_t id = split_.train[position];
  return data_.train.labels[id] != true_labels_[id];
}

std::map<std::string, at::Tensor> NoisyImages::Artifacts() const {
  std::vector<int64_t> flipped;
  std::vector<int64_t> labels;
  for (int64_t position = 0; position < train_count(); ++position) {
    if (IsNoisy(position)) flipped.push_back(split_.train[position]);
    labels.push_back(data_.train.labels[split_.train[position]]);
  }
  return {{"noise_matrix",
           at::tensor(noise_.values(), at::kDouble).view({noise_.classes(), noise_.classes()})},
          {"meta_ids", Longs(split_.meta)},
          {"train_ids", Longs(split_.train)},
          {"flipped_ids", Longs(flipped)},
          {"noisy_labels", Longs(labels)}};
}

}  // namespace evograd
