#include "algo/seed.h"

#include "common/status_macros.h"

namespace evograd {
namespace {

uint32_t Low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t High(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

uint64_t FirstHalf(const PhiloxBlock& block) {
  return (uint64_t{block.word[1]} << 32) | block.word[0];
}

uint64_t SecondHalf(const PhiloxBlock& block) {
  return (uint64_t{block.word[3]} << 32) | block.word[2];
}

constexpr uint64_t kFullBound = uint64_t{1} << 62;
constexpr int kFeistelRounds = 8;

// The finaliser of MurmurHash3: each bit of the input reaches each bit of the output.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}

}  // namespace

uint64_t DeriveSeed(uint64_t seed, uint32_t domain, uint64_t a, uint64_t b) {
  // `a` and `b` fill a whole counter, so they go in one after the other.
  constexpr uint32_t kFirst = philox_domain::kSeed << 24;
  constexpr uint32_t kSecond = kFirst | 1;
  const uint64_t middle = FirstHalf(Philox4x32(Low(a), High(a), domain, kFirst, seed));
  return FirstHalf(Philox4x32(Low(b), High(b), domain, kSecond, middle));
}

uint64_t CounterRng::Next64() {
  const uint64_t index = drawn_++;
  if (index % 2 == 1) return SecondHalf(block_);
  const uint64_t block = index / 2;
  block_ = Philox4x32(Low(block), High(block), 0, philox_domain::kCounterRng << 24, seed_);
  return FirstHalf(block_);
}

uint64_t CounterRng::Below(uint64_t bound) {
  EVOGRAD_CHECK(bound > 0, "there is no number below 0");
  // Numbers past the last whole multiple of `bound` would favour small results.
  const uint64_t rejected = (0 - bound) % bound;  // 2^64 mod bound
  uint64_t drawn = Next64();
  while (drawn < rejected) drawn = Next64();
  return drawn % bound;
}

double CounterRng::Uniform() {
  return static_cast<double>(Next64() >> 11) * (1.0 / 9007199254740992.0);
}

uint64_t PermutedIndex(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n) {
  EVOGRAD_CHECK(i < n && n <= kFullBound, "a position lies inside its epoch");
  int half_bits = 1;
  while (uint64_t{1} << (2 * half_bits) < n) ++half_bits;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t keys[kFeistelRounds];
  for (uint32_t round = 0; round < kFeistelRounds; round += 2) {
    const PhiloxBlock block =
        Philox4x32(Low(epoch), High(epoch), round, philox_domain::kPermutation << 24, seed);
    keys[round] = FirstHalf(block);
    keys[round + 1] = SecondHalf(block);
  }
  uint64_t index = i;
  do {  // a permutation's walk from inside comes back inside: four rounds on average at most
    uint64_t left = index >> half_bits;
    uint64_t right = index & mask;
    for (uint64_t key : keys) {
      const uint64_t next = left ^ (Mix(right + key) & mask);
      left = right;
      right = next;
    }
    index = (left << half_bits) | right;
  } while (index >= n);
  return index;
}

}  // namespace evograd
