// The kernels' CPU twins; worker/kernels/kernels.h is their public face.
//
// Vectorised for the machine's own instruction set (chosen at run time), single-threaded: on CPUs
// the population is the parallelism.
#ifndef EVOGRAD_WORKER_KERNELS_KERNELS_CPU_H_
#define EVOGRAD_WORKER_KERNELS_KERNELS_CPU_H_

#include <cstdint>

#include "algo/optimizer.h"
#include "worker/kernels/kernel_types.h"

namespace evograd::kernels_internal::cpu {

// Declared for T = float and double; `count` is between 1 and kMaxTerms.
#define EVOGRAD_DECLARE_KERNELS(T)                                                                \
  /* out = base + sum of `count` terms. */                                                        \
  void AddNoise(NoiseKind kind, const NoiseTerm<T>* terms, int count, ElementRange range,         \
                const T* base, T* out);                                                           \
  /* dots[k] = <x, epsilon(keys[k])>, `count` of them. */                                         \
  void NoiseDots(NoiseKind kind, const NoiseKey* keys, int count, ElementRange range, const T* x, \
                 double* dots);                                                                   \
  void Optimize(const OptimizerRule<T>& rule, ElementRange range, const T* gradient, T* theta,    \
                T* first, T* second);                                                             \
  void Add(ElementRange range, const T* a, const T* b, T* out);                                   \
  void Scale(T factor, ElementRange range, const T* x, T* out);                                   \
  void ScaledAdd(T factor, ElementRange range, const T* a, const T* b, T* out);                   \
  int64_t FirstNonFinite(ElementRange range, const T* x)

EVOGRAD_DECLARE_KERNELS(float);
EVOGRAD_DECLARE_KERNELS(double);
#undef EVOGRAD_DECLARE_KERNELS

}  // namespace evograd::kernels_internal::cpu

#endif  // EVOGRAD_WORKER_KERNELS_KERNELS_CPU_H_
