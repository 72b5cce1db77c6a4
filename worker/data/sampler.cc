#include "worker/data/sampler.h"

#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {

std::vector<int64_t> BatchIndices(uint64_t seed, int64_t examples, int64_t batch_size,
                                  int64_t step) {
  EVOGRAD_CHECK(examples > 0 && batch_size > 0 && step >= 0, "a batch of something");
  std::vector<int64_t> indices;
  indices.reserve(batch_size);
  for (int64_t position = step * batch_size; position < (step + 1) * batch_size; ++position) {
    indices.push_back(PermutedIndex(seed, position / examples, position % examples, examples));
  }
  return indices;
}

}  // namespace evograd
