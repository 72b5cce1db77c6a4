#include "worker/kernels/kernels_cpu.h"

#include <algorithm>
#include <cmath>

#include "algo/host_device.h"

// Compiled once for each instruction set; the loader picks. The templates are inlined into each.
#define EVOGRAD_EACH_MACHINE __attribute__((target_clones("avx512f", "avx2", "default")))
#define EVOGRAD_INLINE inline __attribute__((always_inline))

namespace evograd::kernels_internal::cpu {
namespace {

// x times the Rademacher number of bit j: its sign is flipped where the bit is set.
EVOGRAD_INLINE float Signed(float x, uint32_t bits, int j) {
  uint32_t pattern;
  memcpy(&pattern, &x, sizeof(pattern));
  pattern ^= (bits << (31 - j)) & 0x80000000u;
  memcpy(&x, &pattern, sizeof(pattern));
  return x;
}

EVOGRAD_INLINE double Signed(double x, uint32_t bits, int j) {
  const uint64_t sign = (uint64_t{bits} << (63 - j)) & 0x8000000000000000u;
  return FromBits(BitsOf(x) ^ sign);
}

// epsilon of the 128 elements of a group, times `coefficient`, added to `sums`.
template <typename T>
EVOGRAD_INLINE void AddRademacherGroup(const NoiseTerm<T>& term, uint64_t group, T* sums) {
  const PhiloxBlock bits = RademacherBits(term.key, group);
  for (int word = 0; word < 4; ++word) {
    T* at = sums + 32 * word;
    for (int j = 0; j < 32; ++j) at[j] += Signed(term.coefficient, bits.word[word], j);
  }
}

// epsilon of the 128 elements of a group, rounded to T.
template <typename T>
EVOGRAD_INLINE void NormalGroup(const NoiseKey& key, uint64_t group, T* epsilon) {
  T even[kNoiseGroup / 2];
  T odd[kNoiseGroup / 2];
  const uint64_t first_pair = group * (kNoiseGroup / 2);
  for (int i = 0; i < kNoiseGroup / 2; ++i) {
    const NormalPair pair = NormalNoisePair(key, first_pair + i);
    even[i] = static_cast<T>(pair.even);
    odd[i] = static_cast<T>(pair.odd);
  }
  for (int i = 0; i < kNoiseGroup / 2; ++i) {
    epsilon[2 * i] = even[i];
    epsilon[2 * i + 1] = odd[i];
  }
}

// Calls body(group, from, to) for each group that meets the range, with the elements of it that lie
// inside, counted from the group's first.
template <typename Body>
EVOGRAD_INLINE void ForEachGroup(ElementRange range, Body body) {
  const int64_t last = range.first + range.count;
  int64_t element = range.first;
  while (element < last) {
    const int64_t group = element / kNoiseGroup;
    const int64_t start = group * kNoiseGroup;
    const int to = static_cast<int>(std::min<int64_t>(kNoiseGroup, last - start));
    body(group, static_cast<int>(element - start), to);
    element = start + to;
  }
}

template <typename T>
EVOGRAD_INLINE void AddNoiseBody(NoiseKind kind, const NoiseTerm<T>* terms, int count,
                                 ElementRange range, const T* base, T* out) {
  ForEachGroup(range, [&](int64_t group, int from, int to) __attribute__((always_inline)) {
    alignas(64) T sums[kNoiseGroup] = {};
    for (int k = 0; k < count; ++k) {
      if (kind == NoiseKind::kRademacher) {
        AddRademacherGroup(terms[k], group, sums);
      } else {
        alignas(64) T epsilon[kNoiseGroup];
        NormalGroup(terms[k].key, group, epsilon);
        for (int j = 0; j < kNoiseGroup; ++j) sums[j] += terms[k].coefficient * epsilon[j];
      }
    }
    const int64_t start = group * kNoiseGroup;
    if (from == 0 && to == kNoiseGroup) {
#pragma GCC ivdep
      for (int j = 0; j < kNoiseGroup; ++j) out[start + j] = base[start + j] + sums[j];
    } else {
      for (int j = from; j < to; ++j) out[start + j] = base[start + j] + sums[j];
    }
  });
}

// The sum of `values` along the binary tree: pairs, then pairs of pairs.
EVOGRAD_INLINE double LaneSum(double* values) {
  for (int width = kNoiseGroup / 2; width >= 1; width /= 2) {
    for (int j = 0; j < width; ++j) values[j] += values[j + width];
  }
  return values[0];
}

// Sums numbers that come one by one along the tree of algo/reduction_tree.h.
class RunningTree {
 public:
  EVOGRAD_INLINE void Push(double value) {
    // A finished node of 2^i leaves waits at level i for its right neighbour.
    int level = 0;
    for (; (pushed_ >> level) & 1; ++level) value = waiting_[level] + value;
    waiting_[level] = value;
    ++pushed_;
  }

  EVOGRAD_INLINE double Sum() const {
    double sum = 0;
    bool any = false;
    for (int level = 0; level < kLevels; ++level) {
      if (!((pushed_ >> level) & 1)) continue;
      sum = any ? waiting_[level] + sum : waiting_[level];
      any = true;
    }
    return sum;
  }

 private:
  static constexpr int kLevels = 63;
  uint64_t pushed_ = 0;
  double waiting_[kLevels];
};

template <typename T>
EVOGRAD_INLINE void AddGroupToLanes(NoiseKind kind, const NoiseKey& key, int64_t group, const T* x,
                                    double* lanes) {
  if (kind == NoiseKind::kRademacher) {
    const PhiloxBlock bits = RademacherBits(key, group);
    for (int word = 0; word < 4; ++word) {
      for (int j = 0; j < 32; ++j) {
        lanes[32 * word + j] += Signed(static_cast<double>(x[32 * word + j]), bits.word[word], j);
      }
    }
  } else {
    alignas(64) T epsilon[kNoiseGroup];
    NormalGroup(key, group, epsilon);
    for (int j = 0; j < kNoiseGroup; ++j) {
      lanes[j] += static_cast<double>(x[j]) * static_cast<double>(epsilon[j]);
    }
  }
}

// <x, epsilon(key)> over the elements of `range`, which lie in one block.
template <typename T>
EVOGRAD_INLINE double BlockDot(NoiseKind kind, const NoiseKey& key, ElementRange range,
                               const T* x) {
  alignas(64) double lanes[kNoiseGroup] = {};
  ForEachGroup(range, [&](int64_t group, int from, int to) __attribute__((always_inline)) {
    const T* at = x + group * kNoiseGroup;
    if (from == 0 && to == kNoiseGroup) {
      AddGroupToLanes(kind, key, group, at, lanes);
    } else {  // zeros stand for what lies outside the range
      alignas(64) T inside[kNoiseGroup] = {};
      for (int j = from; j < to; ++j) inside[j] = at[j];
      AddGroupToLanes(kind, key, group, inside, lanes);
    }
  });
  return LaneSum(lanes);
}

template <typename T>
EVOGRAD_INLINE void NoiseDotsBody(NoiseKind kind, const NoiseKey* keys, int count,
                                  ElementRange range, const T* x, double* dots) {
  RunningTree trees[kMaxTerms];
  const int64_t last = range.first + range.count;
  // All keys take a block in turn while it lies in the cache.
  for (int64_t start = range.first; start < last;) {
    const int64_t end = std::min((start / kDotBlock + 1) * kDotBlock, last);
    for (int k = 0; k < count; ++k) {
      trees[k].Push(BlockDot(kind, keys[k], ElementRange{start, end - start}, x));
    }
    start = end;
  }
  for (int k = 0; k < count; ++k) dots[k] = trees[k].Sum();
}

template <typename T>
EVOGRAD_INLINE void OptimizeBody(const OptimizerRule<T>& shared_rule, ElementRange range,
                                 const T* gradient, T* theta, T* first, T* second) {
  const OptimizerRule<T> rule = shared_rule;  // a copy that no store can change
  const int64_t last = range.first + range.count;
  if (rule.kind != OptimizerKind::kSgd) {
#pragma GCC ivdep
    for (int64_t i = range.first; i < last; ++i) {
      UpdateByAdam(rule, gradient[i], theta + i, first + i, second + i);
    }
  } else if (rule.has_momentum) {
#pragma GCC ivdep
    for (int64_t i = range.first; i < last; ++i) {
      UpdateBySgd(rule, gradient[i], theta + i, first + i);
    }
  } else {
#pragma GCC ivdep
    for (int64_t i = range.first; i < last; ++i) {
      UpdateBySgd(rule, gradient[i], theta + i, static_cast<T*>(nullptr));
    }
  }
}

template <typename T>
EVOGRAD_INLINE int64_t FirstNonFiniteBody(ElementRange range, const T* x) {
  constexpr int64_t kStretch = 4096;
  const int64_t last = range.first + range.count;
  for (int64_t start = range.first; start < last; start += kStretch) {
    const int64_t end = std::min(start + kStretch, last);
    int bad = 0;
    // x - x is 0 for a finite x and NaN otherwise.
    for (int64_t i = start; i < end; ++i) bad |= !(x[i] - x[i] == 0);
    if (!bad) continue;
    for (int64_t i = start; i < end; ++i) {
      if (!std::isfinite(x[i])) return i;
    }
  }
  return -1;
}

}  // namespace

#define EVOGRAD_DEFINE_KERNELS(T)                                                             \
  EVOGRAD_EACH_MACHINE void AddNoise(NoiseKind kind, const NoiseTerm<T>* terms, int count,    \
                                     ElementRange range, const T* base, T* out) {             \
    AddNoiseBody(kind, terms, count, range, base, out);                                       \
  }                                                                                           \
  EVOGRAD_EACH_MACHINE void NoiseDots(NoiseKind kind, const NoiseKey* keys, int count,        \
                                      ElementRange range, const T* x, double* dots) {         \
    NoiseDotsBody(kind, keys, count, range, x, dots);                                         \
  }                                                                                           \
  EVOGRAD_EACH_MACHINE void Optimize(const OptimizerRule<T>& rule, ElementRange range,        \
                                     const T* gradient, T* theta, T* first, T* second) {      \
    OptimizeBody(rule, range, gradient, theta, first, second);                                \
  }                                                                                           \
  EVOGRAD_EACH_MACHINE void Add(ElementRange range, const T* a, const T* b, T* out) {         \
    const int64_t last = range.first + range.count;                                           \
    _Pragma("GCC ivdep") for (int64_t i = range.first; i < last; ++i) out[i] = a[i] + b[i];   \
  }                                                                                           \
  EVOGRAD_EACH_MACHINE void Scale(T factor, ElementRange range, const T* x, T* out) {         \
    const int64_t last = range.first + range.count;                                           \
    _Pragma("GCC ivdep") for (int64_t i = range.first; i < last; ++i) out[i] = factor * x[i]; \
  }                                                                                           \
  EVOGRAD_EACH_MACHINE void ScaledAdd(T factor, ElementRange range, const T* a, const T* b,   \
                                      T* out) {                                               \
    const int64_t last = range.first + range.count;                                           \
    _Pragma("GCC ivdep") for (int64_t i = range.first; i < last; ++i) {                       \
      out[i] = a[i] + factor * b[i];                                                          \
    }                                                                                         \
  }                                                                                           \
  EVOGRAD_EACH_MACHINE int64_t FirstNonFinite(ElementRange range, const T* x) {               \
    return FirstNonFiniteBody(range, x);                                                      \
  }

EVOGRAD_DEFINE_KERNELS(float)
EVOGRAD_DEFINE_KERNELS(double)

}  // namespace evograd::kernels_internal::cpu
