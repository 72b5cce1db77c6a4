#include "worker/data/image_set.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/cifar.h"
#include "worker/data/idx.h"

namespace evograd {
namespace {

constexpr char kIdxName[] = "train-images-idx3-ubyte";

// A training file of each format; the names without .bin are those of CIFAR's Python version, whose
// reader says so.
constexpr struct {
  const char* name;
  ImageFormat format;
} kTrainingFiles[] = {
    {"data_batch_1.bin", ImageFormat::kCifar10},
    {"data_batch_1", ImageFormat::kCifar10},
    {"train.bin", ImageFormat::kCifar100},
    {"train", ImageFormat::kCifar100},
    {"train-images-idx3-ubyte", ImageFormat::kIdx},
    {"train-images-idx3-ubyte.gz", ImageFormat::kIdx},
};

bool IsFile(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

ImageSet FromIdx(LabelledImages idx) {
  ImageSet set;
  set.path = std::move(idx.images_path);
  set.channels = 1;
  set.rows = idx.images.rows;
  set.columns = idx.images.columns;
  set.pixels = std::move(idx.images.pixels);
  set.labels = std::move(idx.labels);
  return set;
}

ImageSet FromCifar(CifarImages cifar, std::string path) {
  ImageSet set;
  set.path = std::move(path);
  set.channels = kCifarChannels;
  set.rows = kCifarExtent;
  set.columns = kCifarExtent;
  set.pixels = std::move(cifar.pixels);
  set.labels = std::move(cifar.labels);
  set.coarse_labels = std::move(cifar.coarse_labels);
  return set;
}

absl::StatusOr<ImageData> ReadIdx(const std::string& folder, int classes,
                                  const std::atomic<bool>& cancelled) {
  ImageData data;
  data.format = ImageFormat::kIdx;
  EVOGRAD_ASSIGN_OR_RETURN(
      LabelledImages train,
      ReadLabelledImages(folder, "train", classes > 0 ? classes : limits::kMaxClasses, cancelled));
  if (train.labels.empty()) {
    return absl::DataLossError(absl::StrCat(train.images_path, ": holds no image"));
  }
  data.classes = classes;
  if (classes == 0) {
    data.classes = *std::max_element(train.labels.begin(), train.labels.end()) + 1;
  }
  data.train = FromIdx(std::move(train));
  EVOGRAD_ASSIGN_OR_RETURN(LabelledImages test,
                           ReadLabelledImages(folder, "t10k", data.classes, cancelled));
  data.test = FromIdx(std::move(test));
  return data;
}

absl::StatusOr<ImageData> ReadCifarData(const std::string& folder, CifarKind kind,
                                        const std::atomic<bool>& cancelled) {
  ImageData data;
  const bool ten = kind == CifarKind::kCifar10;
  data.format = ten ? ImageFormat::kCifar10 : ImageFormat::kCifar100;
  data.classes = CifarClasses(kind);
  EVOGRAD_ASSIGN_OR_RETURN(CifarImages train, ReadCifar(kind, folder, /*train=*/true, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(CifarImages test, ReadCifar(kind, folder, /*train=*/false, cancelled));
  data.train =
      FromCifar(std::move(train), absl::StrCat(folder, ten ? "/data_batch_1.bin" : "/train.bin"));
  data.test =
      FromCifar(std::move(test), absl::StrCat(folder, ten ? "/test_batch.bin" : "/test.bin"));
  return data;
}

}  // namespace

absl::StatusOr<ImageFormat> FindImageFormat(const std::string& folder) {
  std::vector<ImageFormat> found;
  std::string names;
  for (const auto& file : kTrainingFiles) {
    if (!IsFile(absl::StrCat(folder, "/", file.name))) continue;
    if (!found.empty() && found.back() == file.format) continue;
    found.push_back(file.format);
    absl::StrAppend(&names, names.empty() ? "" : ", ", file.name);
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "there is none of data_batch_1.bin (CIFAR-10), train.bin (CIFAR-100) and ", kIdxName,
        " or ", kIdxName, ".gz (idx) in ", folder, "; put the files there or give another folder"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(folder, " holds data of several formats (", names,
                   "); say which one is meant or keep them in folders of their own"));
}

absl::StatusOr<ImageData> ReadImageData(const std::string& folder, ImageFormat format, int classes,
                                        const std::atomic<bool>& cancelled) {
  absl::StatusOr<ImageData> data;
  switch (format) {
    case ImageFormat::kCifar10:
      data = ReadCifarData(folder, CifarKind::kCifar10, cancelled);
      break;
    case ImageFormat::kCifar100:
      data = ReadCifarData(folder, CifarKind::kCifar100, cancelled);
      break;
    case ImageFormat::kIdx:
      data = ReadIdx(folder, classes, cancelled);
      break;
  }
  if (!data.ok()) return data.status();
  const ImageSet& train = data->train;
  const ImageSet& test = data->test;
  if (test.rows != train.rows || test.columns != train.columns) {
    return absl::DataLossError(absl::StrCat(test.path, ": has images of ", test.rows, " x ",
                                            test.columns, " pixels, but ", train.path,
                                            " has images of ", train.rows, " x ", train.columns));
  }
  return data;
}

}  // namespace evograd
