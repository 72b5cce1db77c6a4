// The pictures of an lft job: episodes of the epoch's pair of domains, batches of the auxiliary
// domain, read and transformed by threads ahead of the step.
//
// Every `steps_per_epoch` steps another ordered pair of different seen domains is drawn: the
// pseudo-seen one, of which training episodes are, and the pseudo-unseen one, of which validation
// episodes are. All are pure functions of the job's seed and the step.
//
// A training batch holds
//   [0] pictures of E episodes, [E, way (shot + query), 3, S, S], class by class, a class's shots
//       before its queries;
//   [1] pictures for the auxiliary classifier, [A, 3, S, S];
//   [2] their classes, [A], int64;
//   [3] by what each one's loss is multiplied, [A]: auxiliary_weight 0.9^floor(20 e / epochs) in
//       epoch e.
// [1] to [3] are missing where the weight is 0. A validation batch holds [0]; it holds nothing
// where the transformation is not learned.
//
// Threads: one caller. Errors: those of ReadImageList, CheckClasses and ImageLoader.
#ifndef EVOGRAD_WORKER_PROBLEMS_LFT_BATCHES_H_
#define EVOGRAD_WORKER_PROBLEMS_LFT_BATCHES_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/data/episode.h"
#include "worker/data/image_list.h"
#include "worker/data/image_loader.h"
#include "worker/problems/problem.h"

namespace evograd {

// DATA_DIR/DOMAIN/SPLIT.json of each domain, in their order; CANCELLED once `cancelled` is set.
absl::StatusOr<std::vector<ImageList>> ReadDomains(
    const std::string& data_dir, const google::protobuf::RepeatedPtrField<std::string>& domains,
    const std::string& split, const std::atomic<bool>& cancelled);

// INVALID_ARGUMENT when an episode cannot be drawn from one of the lists.
absl::Status CheckEpisodes(const std::vector<ImageList>& lists, const EpisodeShape& shape);

class LftBatches {
 public:
  // `spec` is resolved and its problem is lft; tensors of batches have `options`.
  static absl::StatusOr<std::unique_ptr<LftBatches>> Read(const v1::JobSpec& spec,
                                                          const at::TensorOptions& options,
                                                          const std::atomic<bool>& cancelled);

  int64_t auxiliary_classes() const { return static_cast<int64_t>(auxiliary_.classes.size()); }
  // The pair of the epoch that `step` is in, positions in seen_domains.
  DomainPair PairAt(int64_t step) const;

  // Those whose pictures the steps read.
  std::vector<const ImageList*> lists() const;

  absl::StatusOr<Batch> Train(int64_t step);
  absl::StatusOr<Batch> Validation(int64_t step);

 private:
  LftBatches(const v1::JobSpec& spec, const at::TensorOptions& options,
             const std::atomic<bool>& cancelled);

  std::vector<ImageRequest> Episodes(int64_t step, bool training) const;
  std::vector<int64_t> AuxiliaryExamples(int64_t step) const;
  std::vector<ImageRequest> TrainRequests(int64_t step) const;
  uint64_t AugmentationSeed(int64_t step, int kind, size_t position) const;
  double AuxiliaryWeight(int64_t step) const;
  int64_t EpisodeImages() const { return spec_.episodes_per_step() * shape_.images(); }
  // The first EpisodeImages() pictures, cut into episodes.
  at::Tensor CutEpisodes(const at::Tensor& images) const;

  const v1::Lft spec_;
  const uint64_t seed_;
  const int64_t steps_;
  const int64_t epochs_;
  const at::TensorOptions options_;
  const EpisodeShape shape_;
  std::vector<ImageList> seen_;
  ImageList auxiliary_;
  ImageLoader loader_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_LFT_BATCHES_H_
