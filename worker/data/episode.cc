#include "worker/data/episode.h"

#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {

Episode DrawEpisode(const ImageList& list, const EpisodeShape& shape, uint64_t seed, int64_t step,
                    int64_t index) {
  EVOGRAD_CHECK(shape.ways >= 1 && shape.support >= 1 && shape.query >= 0,
                "an episode of something");
  EVOGRAD_CHECK(list.classes.size() >= shape.ways, "CheckClasses was called");
  const uint64_t order = DeriveSeed(seed, seed_domain::kEpisode, step, index);
  Episode episode;
  episode.classes.reserve(shape.ways);
  episode.images.reserve(shape.images());
  for (int way = 0; way < shape.ways; ++way) {
    // Order 0 is that of the classes, order 1 + w that of the images of way w.
    const int64_t position = PermutedIndex(order, 0, way, list.classes.size());
    const std::vector<int64_t>& images = list.classes[position].images;
    const int64_t count = images.size();
    EVOGRAD_CHECK(count >= shape.images_per_way() || (shape.repeat_images && count >= 1),
                  "CheckClasses was called");
    episode.classes.push_back(position);
    for (int i = 0; i < shape.images_per_way(); ++i) {
      episode.images.push_back(images[PermutedIndex(order, 1 + way, i % count, count)]);
    }
  }
  return episode;
}

DomainPair DrawDomainPair(uint64_t seed, int64_t epoch, int domains) {
  EVOGRAD_CHECK(domains > 1, "a pair needs two domains");
  CounterRng rng(DeriveSeed(seed, seed_domain::kDomainPair, epoch, 0));
  DomainPair pair;
  pair.seen = static_cast<int>(rng.Below(domains));
  pair.unseen = static_cast<int>(rng.Below(domains - 1));
  if (pair.unseen >= pair.seen) ++pair.unseen;
  return pair;
}

}  // namespace evograd
