#include "worker/kernels/kernels.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/kernels/kernels_cpu.h"
#include "worker/kernels/kernels_cuda.h"

namespace evograd {
namespace {

namespace cpu = kernels_internal::cpu;
namespace cuda = kernels_internal::cuda;
using kernels_internal::kMaxTerms;
using kernels_internal::NoiseTerm;

void CheckRange(ElementRange range) {
  EVOGRAD_CHECK(range.first >= 0 && range.count >= 0, "a range lies inside its buffer");
}

absl::Status ToStatus(const cuda::Result& result) {
  if (result.code == 0) return absl::OkStatus();
  const std::string text = absl::StrCat("CUDA's ", result.operation, " failed with ", result.name,
                                        " (", result.description, ").");
  switch (result.kind) {
    case cuda::Result::kMemory:
      return absl::ResourceExhaustedError(text);
    case cuda::Result::kNoDevice:
      return absl::FailedPreconditionError(text);
    default:
      return absl::InternalError(text);
  }
}

// One key of a population with all members that have it.
struct KeyTerm {
  NoiseKey key;
  double coefficient = 0;
};

// sum_k weights[k] * scale_k for each key, in the order of first members; members at the base
// point are left out.
std::vector<KeyTerm> JoinKeys(absl::Span<const MemberNoise> members,
                              absl::Span<const double> weights) {
  std::vector<KeyTerm> terms;
  for (size_t k = 0; k < members.size(); ++k) {
    if (members[k].scale == 0) continue;
    const double coefficient = weights[k] * members[k].scale;
    // An antithetic partner stands beside its other one, or half a population away.
    auto same = terms.rbegin();
    while (same != terms.rend() && !(same->key == members[k].key)) ++same;
    if (same != terms.rend()) {
      same->coefficient += coefficient;
    } else {
      terms.push_back({members[k].key, coefficient});
    }
  }
  return terms;
}

template <typename T>
absl::Status Copy(const KernelDevice& device, ElementRange range, const T* from, T* to) {
  if (from == to || range.count == 0) return absl::OkStatus();
  if (device.cuda) return ToStatus(cuda::Copy(device, range, from, to));
  std::memcpy(to + range.first, from + range.first, range.count * sizeof(T));
  return absl::OkStatus();
}

// out = base + sigma * sum of the terms, kMaxTerms at a time.
template <typename T>
absl::Status AddTerms(const KernelDevice& device, const Perturbation& perturbation,
                      const std::vector<KeyTerm>& terms, ElementRange range, const T* base,
                      T* out) {
  CheckRange(range);
  if (terms.empty()) return Copy(device, range, base, out);
  if (range.count == 0) return absl::OkStatus();
  for (size_t first = 0; first < terms.size(); first += kMaxTerms) {
    NoiseTerm<T> chunk[kMaxTerms];
    int count = 0;
    for (; count < kMaxTerms && first + count < terms.size(); ++count) {
      const KeyTerm& term = terms[first + count];
      chunk[count] = {term.key, static_cast<T>(perturbation.sigma * term.coefficient)};
    }
    const T* from = first == 0 ? base : out;
    if (device.cuda) {
      EVOGRAD_RETURN_IF_ERROR(
          ToStatus(cuda::AddNoise(device, perturbation.kind, chunk, count, range, from, out)));
    } else {
      cpu::AddNoise(perturbation.kind, chunk, count, range, from, out);
    }
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
absl::Status Perturb(const KernelDevice& device, const Perturbation& perturbation,
                     const MemberNoise& member, ElementRange range, const T* base, T* out) {
  const double weight = 1;
  return Recombine(device, perturbation, absl::MakeConstSpan(&member, 1),
                   absl::MakeConstSpan(&weight, 1), range, base, out);
}

template <typename T>
absl::Status Recombine(const KernelDevice& device, const Perturbation& perturbation,
                       absl::Span<const MemberNoise> members, absl::Span<const double> weights,
                       ElementRange range, const T* base, T* out) {
  EVOGRAD_CHECK(members.size() == weights.size(), "each member has one weight");
  return AddTerms(device, perturbation, JoinKeys(members, weights), range, base, out);
}

template <typename T>
absl::Status NoiseDots(const KernelDevice& device, NoiseKind kind,
                       absl::Span<const MemberNoise> members, ElementRange range, const T* x,
                       absl::Span<double> dots) {
  EVOGRAD_CHECK(members.size() == dots.size(), "each member has one dot");
  CheckRange(range);
  for (double& dot : dots) dot = 0;
  if (range.count == 0) return absl::OkStatus();
  const std::vector<double> ones(members.size(), 1.0);
  const std::vector<KeyTerm> terms = JoinKeys(members, ones);
  for (size_t first = 0; first < terms.size(); first += kMaxTerms) {
    NoiseKey keys[kMaxTerms];
    double values[kMaxTerms];
    int count = 0;
    for (; count < kMaxTerms && first + count < terms.size(); ++count) {
      keys[count] = terms[first + count].key;
    }
    if (device.cuda) {
      EVOGRAD_RETURN_IF_ERROR(
          ToStatus(cuda::NoiseDots(device, kind, keys, count, range, x, values)));
    } else {
      cpu::NoiseDots(kind, keys, count, range, x, values);
    }
    for (size_t k = 0; k < members.size(); ++k) {
      if (members[k].scale == 0) continue;
      for (int i = 0; i < count; ++i) {
        if (keys[i] == members[k].key) dots[k] = members[k].scale * values[i];
      }
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status OptimizerStep(const KernelDevice& device, const OptimizerRule<T>& rule,
                           ElementRange range, const T* gradient, T* theta, T* first, T* second) {
  CheckRange(range);
  const bool adam = rule.kind != OptimizerKind::kSgd;
  EVOGRAD_CHECK(first != nullptr || !(adam || rule.has_momentum), "the rule has a first slot");
  EVOGRAD_CHECK(second != nullptr || !adam, "Adam has a second slot");
  if (range.count == 0) return absl::OkStatus();
  if (device.cuda) {
    return ToStatus(cuda::Optimize(device, rule, range, gradient, theta, first, second));
  }
  cpu::Optimize(rule, range, gradient, theta, first, second);
  return absl::OkStatus();
}

template <typename T>
absl::Status Add(const KernelDevice& device, ElementRange range, const T* a, const T* b, T* out) {
  CheckRange(range);
  if (range.count == 0) return absl::OkStatus();
  if (device.cuda) return ToStatus(cuda::Add(device, range, a, b, out));
  cpu::Add(range, a, b, out);
  return absl::OkStatus();
}

template <typename T>
absl::Status Scale(const KernelDevice& device, double factor, ElementRange range, const T* x,
                   T* out) {
  CheckRange(range);
  if (range.count == 0) return absl::OkStatus();
  if (device.cuda) return ToStatus(cuda::Scale(device, static_cast<T>(factor), range, x, out));
  cpu::Scale(static_cast<T>(factor), range, x, out);
  return absl::OkStatus();
}

template <typename T>
absl::Status ScaledAdd(const KernelDevice& device, double factor, ElementRange range, const T* a,
                       const T* b, T* out) {
  CheckRange(range);
  if (range.count == 0) return absl::OkStatus();
  if (device.cuda) {
    return ToStatus(cuda::ScaledAdd(device, static_cast<T>(factor), range, a, b, out));
  }
  cpu::ScaledAdd(static_cast<T>(factor), range, a, b, out);
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<int64_t> FirstNonFinite(const KernelDevice& device, ElementRange range, const T* x) {
  CheckRange(range);
  if (range.count == 0) return -1;
  if (!device.cuda) return cpu::FirstNonFinite(range, x);
  int64_t index = -1;
  EVOGRAD_RETURN_IF_ERROR(ToStatus(cuda::FirstNonFinite(device, range, x, &index)));
  return index;
}

#define EVOGRAD_INSTANTIATE(T)                                                                   \
  template absl::Status Perturb<T>(const KernelDevice&, const Perturbation&, const MemberNoise&, \
                                   ElementRange, const T*, T*);                                  \
  template absl::Status Recombine<T>(const KernelDevice&, const Perturbation&,                   \
                                     absl::Span<const MemberNoise>, absl::Span<const double>,    \
                                     ElementRange, const T*, T*);                                \
  template absl::Status NoiseDots<T>(const KernelDevice&, NoiseKind,                             \
                                     absl::Span<const MemberNoise>, ElementRange, const T*,      \
                                     absl::Span<double>);                                        \
  template absl::Status OptimizerStep<T>(const KernelDevice&, const OptimizerRule<T>&,           \
                                         ElementRange, const T*, T*, T*, T*);                    \
  template absl::Status Add<T>(const KernelDevice&, ElementRange, const T*, const T*, T*);       \
  template absl::Status Scale<T>(const KernelDevice&, double, ElementRange, const T*, T*);       \
  template absl::Status ScaledAdd<T>(const KernelDevice&, double, ElementRange, const T*,        \
                                     const T*, T*);                                              \
  template absl::StatusOr<int64_t> FirstNonFinite<T>(const KernelDevice&, ElementRange, const T*)

EVOGRAD_INSTANTIATE(float);
EVOGRAD_INSTANTIATE(double);

}  // namespace evograd
