// The accuracy of a RelationNet on few-shot episodes of one file list.
//
//   EVOGRAD_ASSIGN_OR_RETURN(EpisodeScore score,
//                            EvaluateEpisodes(novel, what, seed, cancelled, &net));
//   score.accuracy +- score.interval
//
// As published: pictures without augmentation, the backbone with its running statistics and without
// transformations, the relation module with the statistics of each episode. Every picture passes
// through the backbone once, and through the two halves of the relation module's first convolution,
// however many episodes it is in; episodes are taken in groups whose pictures' maps fit
// limits::kMaxEvaluationFeatureBytes.
//
// Threads: one caller; pictures are read by others. Errors: those of ImageLoader; CANCELLED soon
// after `cancelled` is set. Throws what LibTorch throws.
#ifndef EVOGRAD_WORKER_PROBLEMS_EPISODE_EVALUATION_H_
#define EVOGRAD_WORKER_PROBLEMS_EPISODE_EVALUATION_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>

#include "absl/status/statusor.h"
#include "common/limits.h"
#include "worker/data/episode.h"
#include "worker/data/image_list.h"
#include "worker/models/relation_net.h"

namespace evograd {

struct EpisodeScore {
  double accuracy = 0;  // the mean over episodes, in [0, 1]
  double interval = 0;  // 1.96 standard deviations over the root of their number: 95 %
};

struct EpisodeEvaluation {
  EpisodeShape shape;
  int64_t episodes = 0;
  int extent = 0;             // pixels a side
  int threads = 1;            // that read pictures
  at::TensorOptions options;  // of the network
  int64_t feature_bytes = limits::kMaxEvaluationFeatureBytes;
};

// The list has the classes that the shape asks for (CheckClasses). Episodes are a pure function of
// `seed`.
absl::StatusOr<EpisodeScore> EvaluateEpisodes(const ImageList& list, const EpisodeEvaluation& what,
                                              uint64_t seed, const std::atomic<bool>& cancelled,
                                              RelationNet* net);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_EPISODE_EVALUATION_H_
