// Labelled images for classification, whatever the format of their files: CIFAR-10 and CIFAR-100
// binary (worker/data/cifar.h) or idx as MNIST's (worker/data/idx.h).
//
//   EVOGRAD_ASSIGN_OR_RETURN(ImageFormat format, FindImageFormat(folder));
//   EVOGRAD_ASSIGN_OR_RETURN(ImageData data, ReadImageData(folder, format, 0, cancelled));
//
// Threads: pure functions of the files. Errors: those of the readers; NOT_FOUND, naming what was
// looked for, and INVALID_ARGUMENT, when a folder's format cannot be told; DATA_LOSS when there is
// no training image and when training and test images differ in size.
#ifndef EVOGRAD_WORKER_DATA_IMAGE_SET_H_
#define EVOGRAD_WORKER_DATA_IMAGE_SET_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evograd {

enum class ImageFormat { kCifar10, kCifar100, kIdx };

struct ImageSet {
  std::string path;  // a file of the images, for messages
  int64_t channels = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<uint8_t> pixels;         // [count, channels, rows, columns]
  std::vector<uint8_t> labels;         // [count]
  std::vector<uint8_t> coarse_labels;  // [count], of CIFAR-100 alone

  int64_t count() const { return labels.size(); }
  int64_t image_bytes() const { return channels * rows * columns; }
  const uint8_t* image(int64_t i) const { return pixels.data() + i * image_bytes(); }
};

struct ImageData {
  ImageFormat format = ImageFormat::kIdx;
  int classes = 0;
  ImageSet train;
  ImageSet test;
};

// The one format whose first training file lies in `folder`.
absl::StatusOr<ImageFormat> FindImageFormat(const std::string& folder);

// `classes` 0: as many as the format has, or the largest training label of an idx file plus 1.
absl::StatusOr<ImageData> ReadImageData(const std::string& folder, ImageFormat format, int classes,
                                        const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IMAGE_SET_H_
