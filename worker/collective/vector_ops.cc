#include "worker/collective/vector_ops.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

// One cache line; also the widest vector register.
constexpr size_t kAlignment = 64;

template <typename T>
void AddVectors(T* __restrict into, const T* __restrict from, size_t count) {
  for (size_t i = 0; i < count; ++i) into[i] += from[i];
}

class HostOps : public VectorOps {
 public:
  absl::StatusOr<std::shared_ptr<void>> Allocate(size_t bytes) override {
    const size_t padded = (bytes / kAlignment + 1) * kAlignment;
    void* memory = std::aligned_alloc(kAlignment, padded);
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no host memory for ", bytes, " bytes of a sum over ranks"));
    }
    std::memset(memory, 0, padded);
    return std::shared_ptr<void>(memory, std::free);
  }

  absl::Status Add(void* into, const void* from, size_t count, ElementType type) override {
    if (type == ElementType::kFloat32) {
      AddVectors(static_cast<float*>(into), static_cast<const float*>(from), count);
    } else {
      AddVectors(static_cast<double*>(into), static_cast<const double*>(from), count);
    }
    return absl::OkStatus();
  }

  absl::Status Copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return absl::OkStatus();
  }
};

}  // namespace

VectorOps& HostVectorOps() {
  static HostOps ops;
  return ops;
}

}  // namespace evograd
