#include "worker/problems/episode_evaluation.h"

#include <ATen/Functions.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "worker/problems/test_pictures.h"

namespace evograd {
namespace {

// What the relation module's first convolution makes of pictures, channels last: [n, E, E, C].
struct Parts {
  at::Tensor prototype;
  at::Tensor query;
};

// Episodes and the pictures that are in them.
struct Group {
  std::vector<Episode> episodes;
  std::map<int64_t, int64_t> rows;  // picture of the list -> row of Parts
};

at::Tensor ChannelsLast(const at::Tensor& maps) { return maps.permute({0, 2, 3, 1}); }
at::Tensor ChannelsFirst(const at::Tensor& maps) { return maps.permute({0, 3, 1, 2}); }

absl::StatusOr<Parts> PartsOf(const ImageList& list, const Group& group,
                              const EpisodeEvaluation& what, const std::atomic<bool>& cancelled,
                              RelationNet* net) {
  TestPictures pictures{{}, what.extent, what.threads, what.options};
  for (const auto& [image, row] : group.rows) pictures.paths.push_back(list.images[image]);
  const int64_t count = static_cast<int64_t>(pictures.paths.size());
  Parts parts;
  EVOGRAD_RETURN_IF_ERROR(
      ForEachTestBatch(pictures, cancelled, [&](const at::Tensor& images, int64_t first) {
        const at::Tensor maps = net->feature().Forward(images, FeaturePass());
        const auto keep = [&](const at::Tensor& part, at::Tensor* all) {
          const at::Tensor last = ChannelsLast(part);
          if (!all->defined()) {
            *all = at::empty({count, last.size(1), last.size(2), last.size(3)}, what.options);
          }
          all->narrow(0, first, last.size(0)).copy_(last);
        };
        keep(net->relation().PrototypePart(maps), &parts.prototype);
        keep(net->relation().QueryPart(maps), &parts.query);
      }));
  return parts;
}

double Accuracy(const Episode& episode, const Group& group, const Parts& parts,
                const EpisodeEvaluation& what, RelationNet* net) {
  const EpisodeShape& shape = what.shape;
  std::vector<int64_t> support;
  std::vector<int64_t> query;
  for (int way = 0; way < shape.ways; ++way) {
    for (int i = 0; i < shape.images_per_way(); ++i) {
      const int64_t image = episode.images[way * shape.images_per_way() + i];
      (i < shape.support ? support : query).push_back(group.rows.at(image));
    }
  }
  const auto rows = [&](const at::Tensor& all, const std::vector<int64_t>& which) {
    return all.index_select(0, at::tensor(which, at::kLong).to(all.device()));
  };
  const at::Tensor prototypes =
      rows(parts.prototype, support).unflatten(0, {shape.ways, shape.support}).mean(1);
  const at::Tensor scores =
      net->relation().Scores(ChannelsFirst(prototypes), ChannelsFirst(rows(parts.query, query)));
  const at::Tensor labels = QueryLabels(shape.ways, shape.query).to(scores.device());
  return scores.argmax(1).eq(labels).sum().item<double>() / static_cast<double>(labels.size(0));
}

EpisodeScore ScoreOf(const std::vector<double>& accuracies) {
  const double count = static_cast<double>(accuracies.size());
  EpisodeScore score;
  for (const double accuracy : accuracies) score.accuracy += accuracy / count;
  double variance = 0;
  for (const double accuracy : accuracies) {
    variance += (accuracy - score.accuracy) * (accuracy - score.accuracy) / count;
  }
  score.interval = 1.96 * std::sqrt(variance / count);
  return score;
}

}  // namespace

absl::StatusOr<EpisodeScore> EvaluateEpisodes(const ImageList& list, const EpisodeEvaluation& what,
                                              uint64_t seed, const std::atomic<bool>& cancelled,
                                              RelationNet* net) {
  const at::NoGradGuard no_grad;
  const int64_t bytes_per_image =
      2 * net->relation().part_elements() * static_cast<int64_t>(what.options.dtype().itemsize());
  std::vector<double> accuracies;
  while (static_cast<int64_t>(accuracies.size()) < what.episodes) {
    Group group;
    for (int64_t next = accuracies.size(); next < what.episodes; ++next) {
      Episode episode = DrawEpisode(list, what.shape, seed, /*step=*/0, next);
      std::set<int64_t> more;
      for (const int64_t image : episode.images) {
        if (group.rows.count(image) == 0) more.insert(image);
      }
      const int64_t rows = static_cast<int64_t>(group.rows.size() + more.size());
      if (!group.episodes.empty() && rows * bytes_per_image > what.feature_bytes) break;
      for (const int64_t image : more) group.rows.emplace(image, 0);
      group.episodes.push_back(std::move(episode));
    }
    int64_t row = 0;
    for (auto& [image, position] : group.rows) position = row++;
    EVOGRAD_ASSIGN_OR_RETURN(const Parts parts, PartsOf(list, group, what, cancelled, net));
    for (const Episode& episode : group.episodes) {
      if (cancelled.load(std::memory_order_relaxed)) {
        return absl::CancelledError("the evaluation was cancelled");
      }
      accuracies.push_back(Accuracy(episode, group, parts, what, net));
    }
  }
  return ScoreOf(accuracies);
}

}  // namespace evograd
