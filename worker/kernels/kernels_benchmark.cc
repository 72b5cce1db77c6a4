// Nanoseconds per element of each CPU kernel over buffers that do not fit the cache, the best of
// five runs; memcpy is the measure.
//
//   ./bazelw run //worker/kernels:kernels_benchmark
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "worker/kernels/kernels.h"

namespace evograd {
namespace {

constexpr int64_t kElements = 25'600'000;  // a ResNet-50
constexpr int kRuns = 5;

template <typename Body>
void Measure(const char* type, const char* name, int64_t elements, Body body) {
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run <= kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    if (run > 0) best = std::min(best, took.count());  // the first one touches new pages
  }
  std::printf("%-6s  %-34s %7.3f ns/element\n", type, name, best / elements);
}

template <typename T>
void MeasureNoise(const char* type, NoiseKind kind, int64_t elements, const T* base, T* out) {
  const KernelDevice cpu;
  const ElementRange range{0, elements};
  const Perturbation perturbation{kind, 1e-3};
  const std::vector<MemberNoise> members = {{{7, 3, 0}}, {{7, 3, 1}}, {{7, 3, 2}}, {{7, 3, 3}}};
  const std::vector<double> weights(members.size(), 0.25);
  std::vector<double> dots(members.size());
  const bool normal = kind == NoiseKind::kNormal;
  Measure(type, normal ? "perturb, normal" : "perturb", elements,
          [&] { Perturb(cpu, perturbation, members[0], range, base, out).IgnoreError(); });
  Measure(type, normal ? "recombine 4, normal" : "recombine 4", elements,
          [&] { Recombine(cpu, perturbation, members, weights, range, base, out).IgnoreError(); });
  Measure(type, normal ? "noise dots 4, normal" : "noise dots 4", elements,
          [&] { NoiseDots(cpu, kind, members, range, base, absl::MakeSpan(dots)).IgnoreError(); });
}

template <typename T>
void MeasureAll(const char* type) {
  const KernelDevice cpu;
  const ElementRange range{0, kElements};
  std::vector<T> a(kElements, 1);
  std::vector<T> b(kElements, 0.5);
  std::vector<T> c(kElements, 0);
  std::vector<T> d(kElements, 0);
  Measure(type, "memcpy", kElements,
          [&] { std::memcpy(c.data(), a.data(), a.size() * sizeof(T)); });
  MeasureNoise(type, NoiseKind::kRademacher, kElements, a.data(), c.data());
  MeasureNoise(type, NoiseKind::kNormal, kElements / 8, a.data(), c.data());
  OptimizerConfig config;
  const auto adam = MakeOptimizerRule<T>(config, 5);
  Measure(type, "adam", kElements, [&] {
    OptimizerStep(cpu, adam, range, b.data(), a.data(), c.data(), d.data()).IgnoreError();
  });
  config.kind = OptimizerKind::kSgd;
  config.momentum = 0.9;
  config.nesterov = true;
  config.weight_decay = 5e-4;
  const auto sgd = MakeOptimizerRule<T>(config, 5);
  T* const none = nullptr;
  Measure(type, "sgd, nesterov, weight decay", kElements, [&] {
    OptimizerStep(cpu, sgd, range, b.data(), a.data(), c.data(), none).IgnoreError();
  });
  Measure(type, "add", kElements,
          [&] { Add(cpu, range, a.data(), b.data(), c.data()).IgnoreError(); });
  Measure(type, "scaled add", kElements,
          [&] { ScaledAdd(cpu, -0.1, range, a.data(), b.data(), c.data()).IgnoreError(); });
  Measure(type, "first non-finite", kElements,
          [&] { FirstNonFinite(cpu, range, b.data()).status().IgnoreError(); });
}

}  // namespace
}  // namespace evograd

int main() {
  evograd::MeasureAll<float>("float");
  evograd::MeasureAll<double>("double");
}
