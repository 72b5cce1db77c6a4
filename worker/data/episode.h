// Few-shot episodes and the domains that they come from: pure functions of a seed and where one
// stands, so that no sampler has a state and every worker draws the same.
//
//   const uint64_t seed = DeriveSeed(job_seed, seed_domain::kTrainBatch, 0, 0);
//   const DomainPair pair = DrawDomainPair(seed, step / steps_per_epoch, /*domains=*/3);
//   const Episode episode = DrawEpisode(lists[pair.seen], {5, 5, 16}, seed, step, /*index=*/0);
//   // The i-th image of way w, support first: episode.images[w * shape.images_per_way() + i]
//
// Threads: any. Errors: none; that a list has enough classes and images is CheckClasses's, and a
// list that has not is a programmer's error.
#ifndef EVOGRAD_WORKER_DATA_EPISODE_H_
#define EVOGRAD_WORKER_DATA_EPISODE_H_

#include <cstdint>
#include <vector>

#include "worker/data/image_list.h"

namespace evograd {

struct EpisodeShape {
  int ways = 5;     // classes
  int support = 5;  // images of each: shots
  int query = 16;
  bool repeat_images = false;  // a class with fewer images repeats them in turn

  int images_per_way() const { return support + query; }
  int images() const { return ways * images_per_way(); }
};

struct Episode {
  // [ways, support + query], positions in ImageList::images; within a way no image twice, unless
  // repeat_images had to.
  std::vector<int64_t> images;
  std::vector<int64_t> classes;  // [ways], positions in ImageList::classes, no two equal
};

// Episode `index` of `step`: every set of classes, and of images within each, equally likely.
Episode DrawEpisode(const ImageList& list, const EpisodeShape& shape, uint64_t seed, int64_t step,
                    int64_t index);

// Two different ones of 0 .. domains - 1, every ordered pair equally likely; `domains` > 1.
struct DomainPair {
  int seen = 0;    // pseudo-seen: the training loss
  int unseen = 0;  // pseudo-unseen: the validation loss
};

DomainPair DrawDomainPair(uint64_t seed, int64_t epoch, int domains);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_EPISODE_H_
