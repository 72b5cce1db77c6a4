#include "worker/collective/testing/test_memory.h"

#include <cuda_runtime_api.h>

#include <cstring>

#include "common/status_macros.h"

namespace evograd {
namespace {

void Check(cudaError_t error) { EVOGRAD_CHECK(error == cudaSuccess, cudaGetErrorString(error)); }

}  // namespace

TestMemory::TestMemory(Communicator::Memory kind, int cuda_device, const std::vector<char>& bytes)
    : kind_(kind), size_(bytes.size()) {
  // One byte more, so that there is memory even for no bytes.
  if (kind_ == Communicator::Memory::kHost) {
    memory_.reset(new char[size_ + 1], std::default_delete<char[]>());
    if (size_ > 0) std::memcpy(memory_.get(), bytes.data(), size_);
    return;
  }
  Check(cudaSetDevice(cuda_device));
  void* memory = nullptr;
  Check(cudaMalloc(&memory, size_ + 1));
  memory_.reset(static_cast<char*>(memory), [](char* p) { cudaFree(p); });
  Check(cudaMemcpy(memory, bytes.data(), size_, cudaMemcpyHostToDevice));
}

std::vector<char> TestMemory::Read() const {
  std::vector<char> bytes(size_);
  if (size_ == 0) return bytes;
  if (kind_ == Communicator::Memory::kHost) {
    std::memcpy(bytes.data(), memory_.get(), size_);
  } else {
    Check(cudaMemcpy(bytes.data(), memory_.get(), size_, cudaMemcpyDeviceToHost));
  }
  return bytes;
}

}  // namespace evograd
