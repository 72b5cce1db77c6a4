#include "worker/engine/exchange.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

// Long enough for full bandwidth, short against a collective's timeout.
constexpr size_t kBroadcastChunkBytes = size_t{16} << 20;
// More than any state's description: its tensors are sent apart.
constexpr int64_t kMaxBroadcastBytes = int64_t{1} << 31;

// A view of memory that somebody else owns.
at::Tensor BytesAt(const void* data, size_t bytes, const at::Device& device) {
  return at::from_blob(const_cast<void*>(data), {static_cast<int64_t>(bytes)},
                       at::TensorOptions().dtype(at::kByte).device(device));
}

}  // namespace

absl::StatusOr<std::shared_ptr<void>> TensorVectorOps::Allocate(size_t bytes) {
  return CatchTorch([&]() -> absl::StatusOr<std::shared_ptr<void>> {
    auto tensor = std::make_shared<at::Tensor>(
        at::zeros({static_cast<int64_t>(std::max<size_t>(bytes, 1))},
                  at::TensorOptions().dtype(at::kByte).device(device_)));
    return std::shared_ptr<void>(tensor, tensor->mutable_data_ptr());
  });
}

absl::Status TensorVectorOps::Add(void* into, const void* from, size_t count, ElementType type) {
  const ElementRange range{0, static_cast<int64_t>(count)};
  if (type == ElementType::kFloat32) {
    float* out = static_cast<float*>(into);
    return evograd::Add(kernel_device_, range, out, static_cast<const float*>(from), out);
  }
  double* out = static_cast<double*>(into);
  return evograd::Add(kernel_device_, range, out, static_cast<const double*>(from), out);
}

absl::Status TensorVectorOps::Copy(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  if (!device_.is_cuda()) {
    std::memcpy(to, from, bytes);
    return absl::OkStatus();
  }
  return CatchTorch([&]() -> absl::Status {
    BytesAt(to, bytes, device_).copy_(BytesAt(from, bytes, device_), /*non_blocking=*/true);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::unique_ptr<Exchange>> Exchange::Create(Communicator* communicator,
                                                           const at::Device& device,
                                                           const KernelDevice& kernel_device) {
  const bool cuda = communicator->memory() == Communicator::Memory::kCuda;
  if (communicator->size() > 1 && cuda != device.is_cuda()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the engine computes on ", device.str(), " and the communicator moves ",
        cuda ? "CUDA" : "host", " memory; workers of one job have one kind of device"));
  }
  return std::unique_ptr<Exchange>(new Exchange(communicator, device, kernel_device));
}

absl::StatusOr<std::vector<double>> Exchange::AllGather(int leaves,
                                                        const std::vector<double>& mine) {
  if (size() == 1) return mine;
  // Every block is as long as the longest.
  const int most = (leaves + size() - 1) / size();
  std::vector<double> all(static_cast<size_t>(most) * size());
  double* const block = all.data() + static_cast<size_t>(rank()) * most;
  std::copy(mine.begin(), mine.end(), block);
  const size_t block_bytes = most * sizeof(double);
  if (communicator_->memory() == Communicator::Memory::kCuda) {
    const at::Tensor host = at::from_blob(all.data(), {static_cast<int64_t>(all.size())},
                                          at::TensorOptions().dtype(at::kDouble));
    const at::Tensor staged = host.to(device_);
    char* const bytes = static_cast<char*>(staged.mutable_data_ptr());
    EVOGRAD_RETURN_IF_ERROR(
        communicator_->AllGather(bytes + rank() * block_bytes, bytes, block_bytes));
    host.copy_(staged);
  } else {
    EVOGRAD_RETURN_IF_ERROR(communicator_->AllGather(block, all.data(), block_bytes));
  }
  std::vector<double> values;
  values.reserve(leaves);
  for (int r = 0; r < size(); ++r) {
    const auto begin = all.begin() + static_cast<size_t>(r) * most;
    values.insert(values.end(), begin, begin + SliceOf(leaves, r, size()).count());
  }
  return values;
}

absl::Status Exchange::BroadcastHost(void* data, size_t bytes, int root) {
  if (communicator_->memory() == Communicator::Memory::kHost) {
    return communicator_->Broadcast(data, bytes, root);
  }
  const at::Tensor host = BytesAt(data, bytes, at::kCPU);
  const at::Tensor staged = host.to(device_);
  EVOGRAD_RETURN_IF_ERROR(communicator_->Broadcast(staged.mutable_data_ptr(), bytes, root));
  host.copy_(staged);
  return absl::OkStatus();
}

absl::Status Exchange::Broadcast(std::string* bytes, int root) {
  if (size() == 1) return absl::OkStatus();
  int64_t length = static_cast<int64_t>(bytes->size());
  EVOGRAD_RETURN_IF_ERROR(BroadcastHost(&length, sizeof length, root));
  if (length < 0 || length > kMaxBroadcastBytes) {
    return absl::InternalError(absl::StrCat("rank ", root, " announced ", length, " bytes"));
  }
  bytes->resize(length);
  for (size_t at = 0; at < bytes->size(); at += kBroadcastChunkBytes) {
    const size_t chunk = std::min(kBroadcastChunkBytes, bytes->size() - at);
    EVOGRAD_RETURN_IF_ERROR(BroadcastHost(&(*bytes)[at], chunk, root));
  }
  return absl::OkStatus();
}

absl::Status Exchange::Broadcast(const at::Tensor& tensor, int root) {
  if (size() == 1) return absl::OkStatus();
  char* const data = static_cast<char*>(tensor.mutable_data_ptr());
  for (size_t at = 0; at < tensor.nbytes(); at += kBroadcastChunkBytes) {
    const size_t chunk = std::min(kBroadcastChunkBytes, tensor.nbytes() - at);
    EVOGRAD_RETURN_IF_ERROR(communicator_->Broadcast(data + at, chunk, root));
  }
  return absl::OkStatus();
}

DoubleSum::DoubleSum(Exchange* exchange, int leaves, size_t count, bool replicated)
    : exchange_(exchange),
      count_(count),
      staged_(!replicated && exchange->size() > 1 &&
              exchange->communicator().memory() == Communicator::Memory::kCuda),
      sum_(staged_ ? exchange->ops() : &HostVectorOps(), ElementType::kFloat64, leaves,
           replicated ? 0 : exchange->rank(), replicated ? 1 : exchange->size(), count) {}

absl::Status DoubleSum::Add(const std::vector<double>& leaf) {
  EVOGRAD_CHECK(leaf.size() == count_, "every leaf has the sum's length");
  if (!staged_) return sum_.Add(leaf.data());
  return CatchTorch([&]() -> absl::Status {
    stage_ = at::from_blob(const_cast<double*>(leaf.data()), {static_cast<int64_t>(count_)},
                           at::TensorOptions().dtype(at::kDouble))
                 .to(exchange_->device());
    return sum_.Add(stage_.const_data_ptr());
  });
}

absl::StatusOr<std::vector<double>> DoubleSum::AllReduce() {
  EVOGRAD_ASSIGN_OR_RETURN(const void* sum, sum_.AllReduce(exchange_->communicator()));
  const double* const values = static_cast<const double*>(sum);
  if (!staged_) return std::vector<double>(values, values + count_);
  return CatchTorch([&]() -> absl::StatusOr<std::vector<double>> {
    const at::Tensor host = BytesAt(sum, count_ * sizeof(double), exchange_->device()).cpu();
    const double* const numbers = static_cast<const double*>(host.const_data_ptr());
    return std::vector<double>(numbers, numbers + count_);
  });
}

}  // namespace evograd
