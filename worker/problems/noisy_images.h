// The data of a Meta-Weight-Net job: images read, split, given noisy labels, and handed out in
// batches.
//
//   EVOGRAD_ASSIGN_OR_RETURN(NoisyImages data, NoisyImages::Read(spec, cancelled));
//   Batch batch = data.TrainBatch(step);
//
// Images stay bytes in the host's memory; a batch is put together on the CPU. Threads: one. Errors:
// those of ReadImageData and SplitMeta; INVALID_ARGUMENT, naming the field. Functions that answer
// tensors throw what LibTorch throws.
#ifndef EVOGRAD_WORKER_PROBLEMS_NOISY_IMAGES_H_
#define EVOGRAD_WORKER_PROBLEMS_NOISY_IMAGES_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/data/image_set.h"
#include "worker/data/label_noise.h"
#include "worker/data/meta_split.h"

namespace evograd {

// On the CPU.
struct PixelBatch {
  at::Tensor pixels;  // uint8 [N, channels, rows, columns]
  at::Tensor labels;  // int64 [N]
};

class NoisyImages {
 public:
  // `spec` is resolved.
  static absl::StatusOr<NoisyImages> Read(const v1::JobSpec& spec,
                                          const std::atomic<bool>& cancelled);

  int classes() const { return data_.classes; }
  const ImageSet& train_file() const { return data_.train; }
  int64_t train_count() const { return split_.train.size(); }
  int64_t test_count() const { return test_count_; }

  // Pure functions of the job's seed and the step; augmented where the job says so.
  PixelBatch TrainBatch(int64_t step) const;
  PixelBatch MetaBatch(int64_t step) const;
  // As the files have them. Training examples by their position in the training set, with the
  // labels that are trained on.
  PixelBatch Train(const std::vector<int64_t>& positions) const;
  PixelBatch Test(int64_t first, int64_t count) const;

  // Whether the example at this position of the training set has a wrong label.
  bool IsNoisy(int64_t position) const;

  // Per channel, of pixels in [0, 1]: published figures for CIFAR, else of the training set.
  const std::vector<double>& mean() const { return mean_; }
  const std::vector<double>& deviation() const { return deviation_; }

  std::map<std::string, at::Tensor> Artifacts() const;

 private:
  NoisyImages(const v1::JobSpec& spec, ImageData data, MetaSplit split, NoiseMatrix noise);

  absl::Status FindScale();
  // The images of these numbers of the file; augmented where `step` is not negative.
  PixelBatch Gather(const ImageSet& set, const std::vector<int64_t>& ids, int64_t step,
                    int stream) const;

  v1::MetaWeightNet spec_;
  uint64_t seed_;
  ImageData data_;
  MetaSplit split_;
  NoiseMatrix noise_;
  std::vector<uint8_t> true_labels_;  // of the training file; data_.train.labels are the given ones
  int64_t test_count_ = 0;
  std::vector<double> mean_;
  std::vector<double> deviation_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_NOISY_IMAGES_H_
