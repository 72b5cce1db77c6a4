// CUDA twins of kernels_cpu.cc: the same operations on each element in the same order. A thread
// block works on one stretch of kDotBlock elements, aligned to the elements' numbers, and computes
// the Philox blocks of a key together: one call serves 128 elements.
#include <cuda_runtime.h>

#include <algorithm>

#include "worker/kernels/kernels_cuda.h"

namespace evograd::kernels_internal::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kGroupsPerBlock = kDotBlock / kNoiseGroup;
constexpr int kElementsPerThread = kDotBlock / kThreads;
// Keys whose Philox blocks the threads of a block compute at once: one call for each thread.
constexpr int kKeysAtOnce = kThreads / kGroupsPerBlock;
constexpr int kMaxBlocks = 1 << 16;
static_assert(kThreads == kNoiseGroup, "a thread is a lane of a dot");

template <typename T>
struct Terms {
  NoiseTerm<T> term[kMaxTerms];
  int count;
};

struct Keys {
  NoiseKey key[kMaxTerms];
  int count;
};

Result ResultOf(cudaError_t error, const char* operation) {
  Result result;
  if (error == cudaSuccess) return result;
  cudaGetLastError();  // so that the next call does not report this error again
  result.kind = error == cudaErrorMemoryAllocation ? Result::kMemory
                : error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver ||
                        error == cudaErrorInvalidDevice
                    ? Result::kNoDevice
                    : Result::kOther;
  result.code = error;
  result.operation = operation;
  result.name = cudaGetErrorName(error);
  result.description = cudaGetErrorString(error);
  return result;
}

#define EVOGRAD_CUDA_RETURN_IF_ERROR(call, operation)                        \
  do {                                                                       \
    const Result evograd_cuda_result = ResultOf(call, operation);            \
    if (evograd_cuda_result.kind != Result::kOk) return evograd_cuda_result; \
  } while (false)

// Makes a device current, and the former one again in the end.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    cudaError_t error = cudaGetDevice(&former_);
    if (error == cudaSuccess) {
      known_ = true;
      error = cudaSetDevice(device);
    }
    result_ = ResultOf(error, "choice of a device");
  }
  ~DeviceScope() {
    if (known_) cudaSetDevice(former_);
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  const Result& result() const { return result_; }

 private:
  int former_ = 0;
  bool known_ = false;
  Result result_;
};

// Device memory in the order of a stream.
class Scratch {
 public:
  Scratch(size_t bytes, cudaStream_t stream) : stream_(stream) {
    result_ = ResultOf(cudaMallocAsync(&data_, bytes, stream), "allocation of scratch memory");
  }
  ~Scratch() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }
  const Result& result() const { return result_; }

 private:
  cudaStream_t stream_;
  void* data_ = nullptr;
  Result result_;
};

cudaStream_t StreamOf(const KernelDevice& device) {
  return static_cast<cudaStream_t>(device.stream);
}

// Stretches of kDotBlock elements that meet the range, numbered from the first one.
struct Stretches {
  int64_t first;  // the first stretch's number in the buffer
  int64_t count;
};

Stretches StretchesOf(ElementRange range) {
  const int64_t first = range.first / kDotBlock;
  return {first, (range.first + range.count - 1) / kDotBlock - first + 1};
}

int GridOf(int64_t blocks) { return static_cast<int>(std::min<int64_t>(blocks, kMaxBlocks)); }

__device__ float Signed(float x, uint32_t bits, int j) {
  return __uint_as_float(__float_as_uint(x) ^ ((bits << (31 - j)) & 0x80000000u));
}

__device__ double Signed(double x, uint32_t bits, int j) {
  return FromBits(BitsOf(x) ^ ((uint64_t{bits} << (63 - j)) & 0x8000000000000000u));
}

template <typename T>
__global__ void AddRademacherKernel(Terms<T> terms, Stretches stretches, ElementRange range,
                                    const T* base, T* out) {
  __shared__ uint32_t bits[kKeysAtOnce][kGroupsPerBlock][4];
  const int lane = threadIdx.x;
  const int64_t last = range.first + range.count;
  for (int64_t s = blockIdx.x; s < stretches.count; s += gridDim.x) {
    const int64_t start = (stretches.first + s) * kDotBlock;
    T sums[kElementsPerThread];
#pragma unroll
    for (int i = 0; i < kElementsPerThread; ++i) sums[i] = 0;
    for (int k = 0; k < terms.count; k += kKeysAtOnce) {
      __syncthreads();
      const int own = lane / kGroupsPerBlock;
      if (k + own < terms.count) {
        const int group = lane % kGroupsPerBlock;
        const PhiloxBlock block =
            RademacherBits(terms.term[k + own].key, start / kNoiseGroup + group);
        for (int w = 0; w < 4; ++w) bits[own][group][w] = block.word[w];
      }
      __syncthreads();
      for (int key = 0; key < kKeysAtOnce && k + key < terms.count; ++key) {
        const T coefficient = terms.term[k + key].coefficient;
#pragma unroll
        for (int i = 0; i < kElementsPerThread; ++i) {
          sums[i] += Signed(coefficient, bits[key][i][lane / 32], lane % 32);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kElementsPerThread; ++i) {
      const int64_t element = start + i * kNoiseGroup + lane;
      if (element >= range.first && element < last) out[element] = base[element] + sums[i];
    }
  }
}

template <typename T>
__global__ void AddNormalKernel(Terms<T> terms, ElementRange range, const T* base, T* out) {
  const int64_t last = range.first + range.count;
  const int64_t first_pair = range.first / 2;
  const int64_t pairs = (last + 1) / 2 - first_pair;
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < pairs; i += stride) {
    T even = 0;
    T odd = 0;
    for (int k = 0; k < terms.count; ++k) {
      const NormalPair noise = NormalNoisePair(terms.term[k].key, first_pair + i);
      even += terms.term[k].coefficient * static_cast<T>(noise.even);
      odd += terms.term[k].coefficient * static_cast<T>(noise.odd);
    }
    const int64_t element = 2 * (first_pair + i);
    if (element >= range.first) out[element] = base[element] + even;
    if (element + 1 < last) out[element + 1] = base[element + 1] + odd;
  }
}

// The sum of the lanes' values along a binary tree, in thread 0.
__device__ double LaneSum(double value, double* shared) {
  shared[threadIdx.x] = value;
  for (int width = kThreads / 2; width >= 1; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) shared[threadIdx.x] += shared[threadIdx.x + width];
  }
  return shared[0];
}

// partials[k * stretches.count + s]: the dot of key k over stretch s.
template <typename T>
__global__ void RademacherDotsKernel(Keys keys, Stretches stretches, ElementRange range, const T* x,
                                     double* partials) {
  __shared__ uint32_t bits[kKeysAtOnce][kGroupsPerBlock][4];
  __shared__ double lanes[kThreads];
  const int lane = threadIdx.x;
  const int64_t last = range.first + range.count;
  for (int64_t s = blockIdx.x; s < stretches.count; s += gridDim.x) {
    const int64_t start = (stretches.first + s) * kDotBlock;
    T own_x[kElementsPerThread];
#pragma unroll
    for (int i = 0; i < kElementsPerThread; ++i) {
      const int64_t element = start + i * kNoiseGroup + lane;
      own_x[i] = element >= range.first && element < last ? x[element] : T{0};
    }
    for (int k = 0; k < keys.count; k += kKeysAtOnce) {
      __syncthreads();
      const int own = lane / kGroupsPerBlock;
      if (k + own < keys.count) {
        const int group = lane % kGroupsPerBlock;
        const PhiloxBlock block = RademacherBits(keys.key[k + own], start / kNoiseGroup + group);
        for (int w = 0; w < 4; ++w) bits[own][group][w] = block.word[w];
      }
      __syncthreads();
      for (int key = 0; key < kKeysAtOnce && k + key < keys.count; ++key) {
        double sum = 0;
#pragma unroll
        for (int i = 0; i < kElementsPerThread; ++i) {
          sum += Signed(static_cast<double>(own_x[i]), bits[key][i][lane / 32], lane % 32);
        }
        const double total = LaneSum(sum, lanes);
        if (lane == 0) partials[(k + key) * stretches.count + s] = total;
        __syncthreads();
      }
    }
  }
}

template <typename T>
__global__ void NormalDotsKernel(Keys keys, Stretches stretches, ElementRange range, const T* x,
                                 double* partials) {
  __shared__ T epsilon[2 * kThreads];
  __shared__ double lanes[kThreads];
  const int lane = threadIdx.x;
  const int64_t last = range.first + range.count;
  for (int64_t s = blockIdx.x; s < stretches.count; s += gridDim.x) {
    const int64_t start = (stretches.first + s) * kDotBlock;
    for (int k = 0; k < keys.count; ++k) {
      double sum = 0;
      for (int i = 0; i < kElementsPerThread; i += 2) {  // two groups: a pair for each thread
        const int64_t first = start + i * kNoiseGroup;
        __syncthreads();
        const NormalPair noise = NormalNoisePair(keys.key[k], first / 2 + lane);
        epsilon[2 * lane] = static_cast<T>(noise.even);
        epsilon[2 * lane + 1] = static_cast<T>(noise.odd);
        __syncthreads();
        for (int half = 0; half < 2; ++half) {
          const int64_t element = first + half * kNoiseGroup + lane;
          const bool inside = element >= range.first && element < last;
          const double value = inside ? static_cast<double>(x[element]) : 0.0;
          sum += value * static_cast<double>(epsilon[half * kNoiseGroup + lane]);
        }
      }
      const double total = LaneSum(sum, lanes);
      if (lane == 0) partials[k * stretches.count + s] = total;
      __syncthreads();
    }
  }
}

// Block k sums row k of `partials`, of `count` numbers, along the tree of algo/reduction_tree.h.
__global__ void TreeKernel(double* partials, int64_t count, double* sums) {
  double* row = partials + blockIdx.x * count;
  for (int64_t width = 1; width < count; width *= 2) {
    for (int64_t i = 2 * width * threadIdx.x; i + width < count; i += 2 * width * kThreads) {
      row[i] += row[i + width];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = row[0];
}

// Calls body(element) for each element of the range.
template <typename Body>
__global__ void ElementwiseKernel(ElementRange range, Body body) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < range.count; i += stride) {
    body(range.first + i);
  }
}

template <typename Body>
Result LaunchElementwise(const KernelDevice& device, ElementRange range, const char* name,
                         Body body) {
  DeviceScope scope(device.device);
  if (scope.result().kind != Result::kOk) return scope.result();
  constexpr int kElementwiseThreads = 256;
  const int64_t blocks = (range.count + kElementwiseThreads - 1) / kElementwiseThreads;
  ElementwiseKernel<<<GridOf(blocks), kElementwiseThreads, 0, StreamOf(device)>>>(range, body);
  return ResultOf(cudaGetLastError(), name);
}

template <typename T>
struct OptimizeBody {
  OptimizerRule<T> rule;
  const T* gradient;
  T* theta;
  T* first;
  T* second;
  __device__ void operator()(int64_t i) const {
    UpdateElement(rule, gradient[i], theta + i, first + i, second + i);
  }
};

template <typename T>
struct AddBody {
  const T* a;
  const T* b;
  T* out;
  __device__ void operator()(int64_t i) const { out[i] = a[i] + b[i]; }
};

template <typename T>
struct ScaleBody {
  T factor;
  const T* x;
  T* out;
  __device__ void operator()(int64_t i) const { out[i] = factor * x[i]; }
};

template <typename T>
struct ScaledAddBody {
  T factor;
  const T* a;
  const T* b;
  T* out;
  __device__ void operator()(int64_t i) const { out[i] = a[i] + factor * b[i]; }
};

template <typename T>
struct FirstNonFiniteBody {
  const T* x;
  unsigned long long* first;  // the type of CUDA's 64-bit atomicMin
  __device__ void operator()(int64_t i) const {
    if (!(x[i] - x[i] == 0)) atomicMin(first, static_cast<unsigned long long>(i));
  }
};

template <typename T>
Result AddNoiseOf(const KernelDevice& device, NoiseKind kind, const NoiseTerm<T>* terms, int count,
                  ElementRange range, const T* base, T* out) {
  DeviceScope scope(device.device);
  if (scope.result().kind != Result::kOk) return scope.result();
  Terms<T> arguments;
  arguments.count = count;
  std::copy(terms, terms + count, arguments.term);
  if (kind == NoiseKind::kRademacher) {
    const Stretches stretches = StretchesOf(range);
    AddRademacherKernel<<<GridOf(stretches.count), kThreads, 0, StreamOf(device)>>>(
        arguments, stretches, range, base, out);
  } else {
    const int64_t blocks = (range.count / 2 + kThreads) / kThreads;
    AddNormalKernel<<<GridOf(blocks), kThreads, 0, StreamOf(device)>>>(arguments, range, base, out);
  }
  return ResultOf(cudaGetLastError(), "launch of the perturbation kernel");
}

template <typename T>
Result NoiseDotsOf(const KernelDevice& device, NoiseKind kind, const NoiseKey* keys, int count,
                   ElementRange range, const T* x, double* dots) {
  DeviceScope scope(device.device);
  if (scope.result().kind != Result::kOk) return scope.result();
  const cudaStream_t stream = StreamOf(device);
  const Stretches stretches = StretchesOf(range);
  Scratch scratch((stretches.count + 1) * count * sizeof(double), stream);
  if (scratch.result().kind != Result::kOk) return scratch.result();
  double* sums = static_cast<double*>(scratch.data());
  double* partials = sums + count;
  Keys arguments;
  arguments.count = count;
  std::copy(keys, keys + count, arguments.key);
  if (kind == NoiseKind::kRademacher) {
    RademacherDotsKernel<<<GridOf(stretches.count), kThreads, 0, stream>>>(arguments, stretches,
                                                                           range, x, partials);
  } else {
    NormalDotsKernel<<<GridOf(stretches.count), kThreads, 0, stream>>>(arguments, stretches, range,
                                                                       x, partials);
  }
  EVOGRAD_CUDA_RETURN_IF_ERROR(cudaGetLastError(), "launch of the noise dots' kernel");
  TreeKernel<<<count, kThreads, 0, stream>>>(partials, stretches.count, sums);
  EVOGRAD_CUDA_RETURN_IF_ERROR(cudaGetLastError(), "launch of the noise dots' tree");
  EVOGRAD_CUDA_RETURN_IF_ERROR(
      cudaMemcpyAsync(dots, sums, count * sizeof(double), cudaMemcpyDeviceToHost, stream),
      "copy of the noise dots");
  return ResultOf(cudaStreamSynchronize(stream), "wait for the noise dots");
}

template <typename T>
Result FirstNonFiniteOf(const KernelDevice& device, ElementRange range, const T* x,
                        int64_t* index) {
  DeviceScope scope(device.device);
  if (scope.result().kind != Result::kOk) return scope.result();
  const cudaStream_t stream = StreamOf(device);
  Scratch scratch(sizeof(unsigned long long), stream);
  if (scratch.result().kind != Result::kOk) return scratch.result();
  auto* first = static_cast<unsigned long long*>(scratch.data());
  EVOGRAD_CUDA_RETURN_IF_ERROR(cudaMemsetAsync(first, 0xFF, sizeof(*first), stream),
                               "set-up of the check for finite numbers");
  const Result launched = LaunchElementwise(device, range, "launch of the check for finite numbers",
                                            FirstNonFiniteBody<T>{x, first});
  if (launched.kind != Result::kOk) return launched;
  EVOGRAD_CUDA_RETURN_IF_ERROR(
      cudaMemcpyAsync(index, first, sizeof(*index), cudaMemcpyDeviceToHost, stream),
      "copy of the check for finite numbers");
  return ResultOf(cudaStreamSynchronize(stream), "wait for the check for finite numbers");
}

template <typename T>
Result CopyOf(const KernelDevice& device, ElementRange range, const T* from, T* to) {
  DeviceScope scope(device.device);
  if (scope.result().kind != Result::kOk) return scope.result();
  return ResultOf(cudaMemcpyAsync(to + range.first, from + range.first, range.count * sizeof(T),
                                  cudaMemcpyDeviceToDevice, StreamOf(device)),
                  "copy of parameters");
}

}  // namespace

int DeviceCount() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

#define EVOGRAD_DEFINE_KERNELS(T)                                                                 \
  Result AddNoise(const KernelDevice& device, NoiseKind kind, const NoiseTerm<T>* terms,          \
                  int count, ElementRange range, const T* base, T* out) {                         \
    return AddNoiseOf(device, kind, terms, count, range, base, out);                              \
  }                                                                                               \
  Result NoiseDots(const KernelDevice& device, NoiseKind kind, const NoiseKey* keys, int count,   \
                   ElementRange range, const T* x, double* dots) {                                \
    return NoiseDotsOf(device, kind, keys, count, range, x, dots);                                \
  }                                                                                               \
  Result Optimize(const KernelDevice& device, const OptimizerRule<T>& rule, ElementRange range,   \
                  const T* gradient, T* theta, T* first, T* second) {                             \
    return LaunchElementwise(device, range, "launch of the optimizer kernel",                     \
                             OptimizeBody<T>{rule, gradient, theta, first, second});              \
  }                                                                                               \
  Result Add(const KernelDevice& device, ElementRange range, const T* a, const T* b, T* out) {    \
    return LaunchElementwise(device, range, "launch of a sum", AddBody<T>{a, b, out});            \
  }                                                                                               \
  Result Scale(const KernelDevice& device, T factor, ElementRange range, const T* x, T* out) {    \
    return LaunchElementwise(device, range, "launch of a product", ScaleBody<T>{factor, x, out}); \
  }                                                                                               \
  Result ScaledAdd(const KernelDevice& device, T factor, ElementRange range, const T* a,          \
                   const T* b, T* out) {                                                          \
    return LaunchElementwise(device, range, "launch of a scaled sum",                             \
                             ScaledAddBody<T>{factor, a, b, out});                                \
  }                                                                                               \
  Result Copy(const KernelDevice& device, ElementRange range, const T* from, T* to) {             \
    return CopyOf(device, range, from, to);                                                       \
  }                                                                                               \
  Result FirstNonFinite(const KernelDevice& device, ElementRange range, const T* x,               \
                        int64_t* index) {                                                         \
    return FirstNonFiniteOf(device, range, x, index);                                             \
  }

EVOGRAD_DEFINE_KERNELS(float)
EVOGRAD_DEFINE_KERNELS(double)

}  // namespace evograd::kernels_internal::cuda
