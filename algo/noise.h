// The perturbation epsilon: a pure function of (seed, step, member, element), never stored or sent.
//
// The same bits on CPU and CUDA, whichever rank evaluates the member. Elements are numbered by
// their place in the flat parameter buffer. A use other than perturbation takes a seed of its own
// from algo/seed.h.
//
// Pure; any thread; host and CUDA; no errors.
//
//   NoiseKey key{seed, step, member};
//   double epsilon = NoiseAt(NoiseKind::kRademacher, key, element);  // -1 or +1
#ifndef EVOGRAD_ALGO_NOISE_H_
#define EVOGRAD_ALGO_NOISE_H_

#include <cmath>
#include <cstdint>

#include "algo/host_device.h"
#include "algo/philox.h"
#include "algo/portable_math.h"

namespace evograd {

enum class NoiseKind {
  kRademacher,  // -1 or +1, each with probability 1/2: the sign of a normal number
  kNormal,      // mean 0, variance 1; |epsilon| < 8.6
};

struct NoiseKey {
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t member = 0;  // below 2^24
};

EVOGRAD_HOST_DEVICE bool operator==(const NoiseKey& a, const NoiseKey& b) {
  return a.seed == b.seed && a.step == b.step && a.member == b.member;
}

// theta_k = theta + sigma * scale * epsilon(key). Scale is +1; -1 for the antithetic partner, which
// has the key of the other one of the pair; 0 for a member at the base point itself.
struct MemberNoise {
  NoiseKey key;
  double scale = 1;
};

// Elements that one Philox block serves with Rademacher noise: one bit each.
inline constexpr int kNoiseGroup = 128;

EVOGRAD_HOST_DEVICE PhiloxBlock NoiseBits(uint32_t domain, const NoiseKey& key, uint64_t block) {
  return Philox4x32(static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), key.step,
                    key.member | (domain << 24), key.seed);
}

// The bits of elements 128 * group .. 128 * group + 127: bit j % 32 of word j / 32 is set where
// element j of the group is -1.
EVOGRAD_HOST_DEVICE PhiloxBlock RademacherBits(const NoiseKey& key, uint64_t group) {
  return NoiseBits(philox_domain::kRademacher, key, group);
}

struct NormalPair {
  double even;  // element 2 * pair
  double odd;   // element 2 * pair + 1
};

// Elements 2 * pair and 2 * pair + 1 of normal noise (Box and Muller, 1958).
EVOGRAD_HOST_DEVICE NormalPair NormalNoisePair(const NoiseKey& key, uint64_t pair) {
  const PhiloxBlock bits = NoiseBits(philox_domain::kNormal, key, pair);
  const uint64_t radius_bits = (uint64_t{bits.word[1] & 0xFFFFFu} << 32) | bits.word[0];
  const uint64_t angle_bits = (uint64_t{bits.word[3] & 0xFFFFFu} << 32) | bits.word[2];
  // (n + 1/2) / 2^52 lies inside (0, 1), and is exact.
  const double uniform = (SmallIntegerToDouble(radius_bits) + 0.5) * (1.0 / 4503599627370496.0);
  const double radius = std::sqrt(-2.0 * PortableLog(uniform));
  const SineCosine angle = PortableSineCosine(angle_bits);
  return NormalPair{radius * angle.cosine, radius * angle.sine};
}

// epsilon of one element.
EVOGRAD_HOST_DEVICE double NoiseAt(NoiseKind kind, const NoiseKey& key, uint64_t element) {
  if (kind == NoiseKind::kRademacher) {
    const PhiloxBlock bits = RademacherBits(key, element / kNoiseGroup);
    const uint32_t j = static_cast<uint32_t>(element % kNoiseGroup);
    return (bits.word[j / 32] >> (j % 32)) & 1 ? -1.0 : 1.0;
  }
  const NormalPair pair = NormalNoisePair(key, element / 2);
  return element % 2 ? pair.odd : pair.even;
}

}  // namespace evograd

#endif  // EVOGRAD_ALGO_NOISE_H_
