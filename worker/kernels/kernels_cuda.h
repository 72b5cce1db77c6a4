// The kernels' CUDA twins; worker/kernels/kernels.h is their public face. The standard library
// only, for nvcc reads this header.
#ifndef EVOGRAD_WORKER_KERNELS_KERNELS_CUDA_H_
#define EVOGRAD_WORKER_KERNELS_KERNELS_CUDA_H_

#include <cstdint>

#include "algo/optimizer.h"
#include "worker/kernels/kernel_types.h"

namespace evograd::kernels_internal::cuda {

// How a CUDA call ended. The strings are static.
struct Result {
  enum Kind { kOk, kMemory, kNoDevice, kOther };
  Kind kind = kOk;
  int code = 0;                // a cudaError_t
  const char* operation = "";  // the call that failed
  const char* name = "";       // CUDA's name of the error
  const char* description = "";
};

// Number of CUDA devices; 0 also where there is no driver.
int DeviceCount();

// Declared for T = float and double; `count` is between 1 and kMaxTerms, ranges are not empty.
// NoiseDots and FirstNonFinite wait for the stream; their results lie in host memory.
#define EVOGRAD_DECLARE_KERNELS(T)                                                              \
  Result AddNoise(const KernelDevice& device, NoiseKind kind, const NoiseTerm<T>* terms,        \
                  int count, ElementRange range, const T* base, T* out);                        \
  Result NoiseDots(const KernelDevice& device, NoiseKind kind, const NoiseKey* keys, int count, \
                   ElementRange range, const T* x, double* dots);                               \
  Result Optimize(const KernelDevice& device, const OptimizerRule<T>& rule, ElementRange range, \
                  const T* gradient, T* theta, T* first, T* second);                            \
  Result Add(const KernelDevice& device, ElementRange range, const T* a, const T* b, T* out);   \
  Result Scale(const KernelDevice& device, T factor, ElementRange range, const T* x, T* out);   \
  Result ScaledAdd(const KernelDevice& device, T factor, ElementRange range, const T* a,        \
                   const T* b, T* out);                                                         \
  Result Copy(const KernelDevice& device, ElementRange range, const T* from, T* to);            \
  Result FirstNonFinite(const KernelDevice& device, ElementRange range, const T* x, int64_t* index)

EVOGRAD_DECLARE_KERNELS(float);
EVOGRAD_DECLARE_KERNELS(double);
#undef EVOGRAD_DECLARE_KERNELS

}  // namespace evograd::kernels_internal::cuda

#endif  // EVOGRAD_WORKER_KERNELS_KERNELS_CUDA_H_
