// Randomness apart from the perturbation: seeds for each purpose, a small counter-based generator
// and index permutations. All are pure functions of the job's seed; none shares a Philox counter
// with the noise or with another purpose. Any thread.
//
//   CounterRng rng(DeriveSeed(job_seed, seed_domain::kTrainBatch, step, 0));
//   uint64_t example = rng.Below(examples);
//   uint64_t example = PermutedIndex(job_seed, epoch, position_in_epoch, examples);
#ifndef EVOGRAD_ALGO_SEED_H_
#define EVOGRAD_ALGO_SEED_H_

#include <cstdint>

#include "algo/philox.h"

namespace evograd {

// What a derived seed is for; each purpose has its own number, so that purposes never meet.
namespace seed_domain {
inline constexpr uint32_t kInitialisation = 1;
inline constexpr uint32_t kLayerNoise = 2;
inline constexpr uint32_t kTrainBatch = 3;
inline constexpr uint32_t kValidationBatch = 4;
inline constexpr uint32_t kDataSplit = 5;
inline constexpr uint32_t kLabelNoise = 6;
inline constexpr uint32_t kAugmentation = 7;
inline constexpr uint32_t kPerturbation = 8;
inline constexpr uint32_t kEvaluation = 9;
inline constexpr uint32_t kEpisode = 20;
inline constexpr uint32_t kDomainPair = 21;
}  // namespace seed_domain

// A seed for the purpose `domain` and its indices `a` and `b` (step, member, epoch, ...).
uint64_t DeriveSeed(uint64_t seed, uint32_t domain, uint64_t a, uint64_t b);

// A stream of random numbers whose n-th number is a pure function of (seed, n).
class CounterRng {
 public:
  explicit CounterRng(uint64_t seed) : seed_(seed) {}

  uint64_t Next64();
  // Uniform over 0 .. bound - 1, without bias; `bound` > 0.
  uint64_t Below(uint64_t bound);
  // Uniform over [0, 1), a multiple of 2^-53.
  double Uniform();

 private:
  uint64_t seed_;
  uint64_t drawn_ = 0;  // 64-bit numbers drawn so far; two per Philox block
  PhiloxBlock block_ = {};
};

// Where position `i` of `n` lies in the order of epoch `epoch`: for fixed (seed, epoch, n) a
// permutation of 0 .. n - 1, so that a sampler stores no order. Constant time: a Feistel network
// over the next power of four, walked until it lands inside (J. Black, P. Rogaway, "Ciphers with
// arbitrary finite domains", 2002). `i` < `n` <= 2^62.
uint64_t PermutedIndex(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n);

}  // namespace evograd

#endif  // EVOGRAD_ALGO_SEED_H_
