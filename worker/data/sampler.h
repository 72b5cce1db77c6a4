// Which examples a step's batch holds: each epoch goes through all of them once, in an order of its
// own.
#ifndef EVOGRAD_WORKER_DATA_SAMPLER_H_
#define EVOGRAD_WORKER_DATA_SAMPLER_H_

#include <cstdint>
#include <vector>

namespace evograd {

// The examples, of 0 .. `examples` - 1, that batch `step` holds: a pure function. Batches follow
// one another through the epochs without a gap, so a batch may hold the end of one epoch and the
// beginning of the next.
std::vector<int64_t> BatchIndices(uint64_t seed, int64_t examples, int64_t batch_size,
                                  int64_t step);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_SAMPLER_H_
