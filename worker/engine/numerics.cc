#include "worker/engine/numerics.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/InferenceMode.h>
#include <cuda_runtime_api.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

constexpr size_t kMaxBytes = 200;
// Enough to tell the few kinds of machines of one fleet apart.
constexpr size_t kDigestCharacters = 8;

// LibTorch's settings as the engine has them, and back.
class EngineSettings {
 public:
  EngineSettings()
      : threads_(at::get_num_threads()),
        deterministic_(at::globalContext().deterministicCuDNN()),
        benchmark_(at::globalContext().benchmarkCuDNN()) {
    at::set_num_threads(1);
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
  }
  ~EngineSettings() {
    at::set_num_threads(threads_);
    at::globalContext().setDeterministicCuDNN(deterministic_);
    at::globalContext().setBenchmarkCuDNN(benchmark_);
  }

 private:
  const int threads_;
  const bool deterministic_;
  const bool benchmark_;
  const c10::InferenceMode no_graphs_;
};

// Numbers from -0.5 to 0.5 without a pattern that products would keep, the same everywhere.
at::Tensor Fixed(const std::vector<int64_t>& shape, const at::TensorOptions& options) {
  const at::Tensor values = at::empty(shape, at::TensorOptions().dtype(at::kDouble));
  double* const data = values.data_ptr<double>();
  uint32_t state = static_cast<uint32_t>(values.numel());
  for (int64_t i = 0; i < values.numel(); ++i) {
    state = state * 1664525 + 1013904223;
    data[i] = state * (1.0 / 4294967296.0) - 0.5;
  }
  return values.to(options);
}

void AddProducts(const at::TensorOptions& options, std::vector<at::Tensor>* results) {
  // A block, edges of blocks, a vector, and sums long enough to be cut.
  constexpr int64_t kSizes[][3] = {{128, 128, 128}, {33, 257, 19}, {1, 700, 65}, {64, 1000, 10}};
  for (const auto& [rows, inner, columns] : kSizes) {
    results->push_back(at::matmul(Fixed({rows, inner}, options), Fixed({inner, columns}, options)));
    results->push_back(at::linear(Fixed({rows, inner}, options), Fixed({columns, inner}, options)));
  }
  results->push_back(at::bmm(Fixed({4, 9, 17}, options), Fixed({4, 17, 9}, options)));
}

void AddConvolutions(const at::TensorOptions& options, std::vector<at::Tensor>* results) {
  // Channels in, out, extent: a first layer, an odd one, one of whole vectors.
  constexpr int64_t kSizes[][3] = {{3, 16, 20}, {5, 7, 11}, {32, 32, 10}};
  const std::vector<int64_t> ones = {1, 1};
  for (const auto& [in, out, extent] : kSizes) {
    const at::Tensor images = Fixed({3, in, extent, extent}, options);
    const at::Tensor weights = Fixed({out, in, 3, 3}, options);
    const at::Tensor maps = at::conv2d(images, weights, Fixed({out}, options), ones, ones);
    const auto [to_images, to_weights, to_bias] = at::convolution_backward(
        maps, images, weights, at::IntArrayRef(out), ones, ones, ones,
        /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1, {true, true, true});
    const auto [normal, mean, deviation] = at::native_batch_norm(
        maps, Fixed({out}, options), Fixed({out}, options), {}, {}, true, 0.1, 1e-5);
    for (const at::Tensor& result : {maps, to_images, to_weights, to_bias, normal, mean}) {
      results->push_back(result);
    }
  }
}

void AddFunctions(const at::TensorOptions& options, std::vector<at::Tensor>* results) {
  const at::Tensor values = Fixed({50, 37}, options) * 8;
  const std::vector<int64_t> rows = {0};
  for (const at::Tensor& result :
       {at::exp(values), at::tanh(values), at::sigmoid(values), at::gelu(values),
        at::log_softmax(values, 1), at::sum(values, rows), at::mean(values), at::norm(values)}) {
    results->push_back(result);
  }
}

std::string DigestOn(const at::Device& device) {
  const EngineSettings settings;
  Sha256 hash;
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const auto options = at::TensorOptions().dtype(type).device(device);
    std::vector<at::Tensor> results;
    AddProducts(options, &results);
    AddConvolutions(options, &results);
    AddFunctions(options, &results);
    for (const at::Tensor& result : results) {
      const at::Tensor host = result.cpu().contiguous();
      hash.Update(host.const_data_ptr(), host.nbytes());
    }
  }
  return hash.HexDigest().substr(0, kDigestCharacters);
}

// The instruction set that oneDNN compiles for: what the processor has, at most what the
// environment allows. LibTorch does not hand out oneDNN's own answer.
std::string OneDnnIsa() {
  struct Isa {
    const char* name;
    const char* capability;
  };
  constexpr Isa kIsas[] = {
      {"SSE41", "sse4_1"},
      {"AVX", "avx"},
      {"AVX2", "avx2"},
      {"AVX512_CORE", "avx512_bw"},
      {"AVX512_CORE_VNNI", "avx512_vnni"},
      {"AVX512_CORE_BF16", "avx512_bf16"},
      {"AVX512_CORE_FP16", "avx512_fp16"},
      {"AVX512_CORE_AMX", "amx_tile"},
  };
  const std::unordered_map<std::string, c10::IValue> has = at::cpu::get_cpu_capabilities();
  const char* allowed = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (allowed == nullptr) allowed = std::getenv("DNNL_MAX_CPU_ISA");
  const std::string most = absl::AsciiStrToUpper(allowed == nullptr ? "" : allowed);
  std::string best = "none";
  // Names that say no limit; others that are not in the table set one that is not known here.
  bool known = most.empty() || most == "ALL" || most == "DEFAULT";
  for (const Isa& isa : kIsas) {
    const auto found = has.find(isa.capability);
    if (found != has.end() && found->second.isBool() && found->second.toBool()) best = isa.name;
    known = known || most == isa.name;
    if (most == isa.name) break;
  }
  return known ? best : absl::StrCat(best, " at most ", most);
}

absl::StatusOr<std::string> CudaNames(int device) {
  cudaDeviceProp properties = {};
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return absl::InternalError(cudaGetErrorString(error));
  const int64_t runtime = at::Context::versionCUDART();
  return absl::StrCat(properties.name, " sm_", properties.major, properties.minor, ", CUDA ",
                      runtime / 1000, ".", runtime % 1000 / 10, ", cuDNN ",
                      at::Context::versionCuDNN());
}

// Of what the driver and the environment say, what may stand in a message.
std::string Printable(std::string text, size_t most) {
  std::replace_if(text.begin(), text.end(), [](char c) { return !absl::ascii_isprint(c); }, '?');
  return text.substr(0, most);
}

}  // namespace

absl::StatusOr<std::string> Numerics(const std::string& device) {
  PrepareDevice(device);
  const auto name = [&]() -> absl::StatusOr<std::string> {
    const at::Device where(device);
    std::string names = absl::StrCat("ATen ", at::get_cpu_capability(), ", oneDNN ", OneDnnIsa());
    if (where.is_cuda()) {
      EVOGRAD_ASSIGN_OR_RETURN(names, CudaNames(where.has_index() ? where.index() : 0));
    }
    const std::string digest = absl::StrCat(", ", DigestOn(where));
    names = absl::StrCat("LibTorch ", TORCH_VERSION, ", ", names);
    return absl::StrCat(Printable(std::move(names), kMaxBytes - digest.size()), digest);
  };
  const absl::StatusOr<std::string> named = CatchTorch(name);
  if (named.ok()) return named;
  return absl::Status(named.status().code(),
                      absl::StrCat("the device ", device,
                                   " does not compute: ", std::string(named.status().message())));
}

void PrepareDevice(const std::string& device) {
  // Without it cuBLAS's results depend on what else runs.
  if (device != "cpu") setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
}

}  // namespace evograd
