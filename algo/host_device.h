// EVOGRAD_HOST_DEVICE: an inline function that means the same bits to the host's compiler and to
// nvcc. Always inlined, so that a loop around it vectorises for the loop's own instruction set.
#ifndef EVOGRAD_ALGO_HOST_DEVICE_H_
#define EVOGRAD_ALGO_HOST_DEVICE_H_

#ifdef __CUDACC__
#define EVOGRAD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define EVOGRAD_HOST_DEVICE inline __attribute__((always_inline))
#endif

#endif  // EVOGRAD_ALGO_HOST_DEVICE_H_
