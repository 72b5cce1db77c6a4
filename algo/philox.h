// Philox4x32-10: 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
// J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//
// Pure; any thread; host and CUDA; no errors.
#ifndef EVOGRAD_ALGO_PHILOX_H_
#define EVOGRAD_ALGO_PHILOX_H_

#include <cstdint>

#include "algo/host_device.h"

namespace evograd {

struct PhiloxBlock {
  uint32_t word[4];
};

// Four 32-bit words for the counter (c0, c1, c2, c3), least significant first, under the key
// `key` (its low half is the published key's first word).
EVOGRAD_HOST_DEVICE PhiloxBlock Philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                                           uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(product1);
    c3 = static_cast<uint32_t>(product0);
    k0 += 0x9E3779B9u;  // the golden ratio
    k1 += 0xBB67AE85u;  // the square root of 3
  }
  return PhiloxBlock{{c0, c1, c2, c3}};
}

// What a counter is for: the top byte of its last word, so that no two uses share a counter.
namespace philox_domain {
inline constexpr uint32_t kRademacher = 0;
inline constexpr uint32_t kNormal = 1;
inline constexpr uint32_t kSeed = 2;
inline constexpr uint32_t kCounterRng = 3;
inline constexpr uint32_t kPermutation = 4;
}  // namespace philox_domain

}  // namespace evograd

#endif  // EVOGRAD_ALGO_PHILOX_H_
