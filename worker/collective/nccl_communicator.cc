#include "worker/collective/nccl_communicator.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/status_macros.h"
#include "worker/collective/suspects.h"

namespace evograd {
namespace {

constexpr char kIdKey[] = "nccl/id";

std::string ReadyKey(int rank) { return absl::StrCat("nccl/ready/", rank); }

// A small collective ends while one spins; a long one must not cost a core.
constexpr int kSpins = 2000;
constexpr absl::Duration kLookEvery = absl::Microseconds(20);
constexpr absl::Duration kLookForEndedGeneration = absl::Milliseconds(50);

// How long to wait for peers when all went well, and for kernels to stop after an abort.
constexpr absl::Duration kTearDown = absl::Seconds(3);

absl::Status CudaStatus(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("CUDA failed while ", doing, ": ", cudaGetErrorString(error)));
}

absl::Status NcclStatus(ncclResult_t result, ncclComm_t comm) {
  if (result == ncclSuccess || result == ncclInProgress) return absl::OkStatus();
  const std::string text =
      absl::StrCat(ncclGetErrorString(result), " (", ncclGetLastError(comm), ")");
  if (result == ncclUnhandledCudaError || result == ncclInvalidArgument ||
      result == ncclInvalidUsage) {
    return absl::InternalError(absl::StrCat("NCCL failed: ", text));
  }
  return absl::UnavailableError(absl::StrCat("NCCL lost a rank: ", text));
}

// Of a wait for what `rank` puts into the rendezvous. (Whom NCCL itself waits for it does not
// tell.)
absl::Status OfRank(int rank, absl::Status status) {
  return absl::IsDeadlineExceeded(status) ? Suspecting({rank}, std::move(status)) : status;
}

// The calling thread's device, put back at the end.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    cudaGetDevice(&before_);
    cudaSetDevice(device);
  }
  ~DeviceScope() { cudaSetDevice(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

class NcclCommunicator : public Communicator {
 public:
  explicit NcclCommunicator(const CommunicatorOptions& options)
      : options_(options), stream_(static_cast<cudaStream_t>(options.cuda_stream)) {}
  ~NcclCommunicator() override;

  // With size 1 there is no `rendezvous` to look at.
  absl::Status Connect(Rendezvous& rendezvous);

  int rank() const override { return options_.rank; }
  int size() const override { return options_.size; }
  Memory memory() const override { return Memory::kCuda; }

  absl::Status AllGather(const void* send, void* receive, size_t bytes) override;
  absl::Status AllToAll(const void* send, void* receive, size_t bytes_per_block) override;
  absl::Status Broadcast(void* data, size_t bytes, int root) override;
  void Abort() override;

 private:
  absl::Status AllocateOwn();
  absl::Status Initialise(const ncclUniqueId& id, const Rendezvous& rendezvous);
  // Queues work with `launch`, waits for its end, tears down on any error.
  absl::Status Run(const std::function<ncclResult_t()>& launch);
  absl::Status RunOnce(const std::function<ncclResult_t()>& launch, absl::Time deadline);
  // Until `done` says true or an error; looks at `ended` now and then.
  absl::Status Poll(absl::Time deadline, const std::function<absl::StatusOr<bool>()>& done,
                    const std::function<bool()>& ended);
  absl::StatusOr<bool> Idle();
  absl::Status Fail(absl::Status error);
  void TearDown();

  const CommunicatorOptions options_;
  const cudaStream_t stream_;
  ncclComm_t comm_ = nullptr;
  cudaEvent_t event_ = nullptr;
  // For barriers: one byte per rank.
  char* barrier_ = nullptr;

  absl::Mutex mutex_;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> aborted_{false};
};

bool Never() { return false; }

NcclCommunicator::~NcclCommunicator() {
  DeviceScope scope(options_.cuda_device);
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    status = broken_;
  }
  if (comm_ != nullptr && status.ok()) {
    // A peer may still be receiving what this rank has sent.
    status = NcclStatus(ncclCommFinalize(comm_), comm_);
    if (status.ok()) status = Poll(absl::Now() + kTearDown, [this] { return Idle(); }, Never);
    if (status.ok()) {
      ncclCommDestroy(comm_);
      comm_ = nullptr;
    }
  }
  TearDown();
  if (event_ != nullptr) cudaEventDestroy(event_);
  if (barrier_ != nullptr) cudaFree(barrier_);
}

void NcclCommunicator::Abort() {
  absl::MutexLock lock(&mutex_);
  if (broken_.ok()) broken_ = absl::AbortedError("the communicator was aborted");
  aborted_ = true;
}

absl::Status NcclCommunicator::Fail(absl::Status error) {
  TearDown();
  absl::MutexLock lock(&mutex_);
  if (broken_.ok()) broken_ = std::move(error);
  return broken_;
}

void NcclCommunicator::TearDown() {
  if (comm_ == nullptr) return;
  ncclCommAbort(comm_);
  comm_ = nullptr;
  // Kernels that waited for peers stop now.
  const absl::Time deadline = absl::Now() + kTearDown;
  while (event_ != nullptr && cudaEventQuery(event_) == cudaErrorNotReady &&
         absl::Now() < deadline) {
    absl::MutexLock lock(&mutex_);
    const bool never = false;
    mutex_.AwaitWithTimeout(absl::Condition(&never), kLookEvery);
  }
}

absl::Status NcclCommunicator::Poll(absl::Time deadline,
                                    const std::function<absl::StatusOr<bool>()>& done,
                                    const std::function<bool()>& ended) {
  absl::Time next_look = absl::Now() + kLookForEndedGeneration;
  const auto aborted = [this] { return aborted_.load(); };
  for (int64_t spins = 0;; ++spins) {
    EVOGRAD_ASSIGN_OR_RETURN(const bool finished, done());
    if (finished) return absl::OkStatus();
    if (aborted()) return absl::AbortedError("the communicator was aborted");
    if (spins < kSpins) continue;
    const absl::Time now = absl::Now();
    if (now >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("not every rank did its part within ",
                                                      absl::FormatDuration(options_.timeout)));
    }
    if (now >= next_look) {
      if (ended()) return absl::AbortedError("the generation ended while its ranks connected");
      next_look = now + kLookForEndedGeneration;
    }
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&aborted), kLookEvery);
  }
}

absl::StatusOr<bool> NcclCommunicator::Idle() {
  ncclResult_t state = ncclSuccess;
  EVOGRAD_RETURN_IF_ERROR(NcclStatus(ncclCommGetAsyncError(comm_, &state), comm_));
  EVOGRAD_RETURN_IF_ERROR(NcclStatus(state, comm_));
  return state == ncclSuccess;
}

absl::Status NcclCommunicator::RunOnce(const std::function<ncclResult_t()>& launch,
                                       absl::Time deadline) {
  EVOGRAD_RETURN_IF_ERROR(NcclStatus(launch(), comm_));
  if (comm_ != nullptr) {
    EVOGRAD_RETURN_IF_ERROR(Poll(deadline, [this] { return Idle(); }, Never));
  }
  EVOGRAD_RETURN_IF_ERROR(CudaStatus(cudaEventRecord(event_, stream_), "recording an event"));
  const auto ended = [this]() -> absl::StatusOr<bool> {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaSuccess) return true;
    if (state != cudaErrorNotReady) return CudaStatus(state, "waiting for a collective");
    // A rank's loss shows here.
    if (comm_ != nullptr) EVOGRAD_RETURN_IF_ERROR(Idle().status());
    return false;
  };
  return Poll(deadline, ended, Never);
}

absl::Status NcclCommunicator::Run(const std::function<ncclResult_t()>& launch) {
  {
    absl::MutexLock lock(&mutex_);
    if (!broken_.ok()) return broken_;
  }
  DeviceScope scope(options_.cuda_device);
  absl::Status status = RunOnce(launch, absl::Now() + options_.timeout);
  return status.ok() ? status : Fail(std::move(status));
}

absl::Status NcclCommunicator::AllGather(const void* send, void* receive, size_t bytes) {
  if (bytes == 0) {
    // NCCL does nothing for no bytes.
    send = barrier_ + options_.rank;
    receive = barrier_;
    bytes = 1;
  }
  const char* blocks = static_cast<const char*>(receive);
  const char* mine = blocks + options_.rank * bytes;
  const char* from = static_cast<const char*>(send);
  const bool inside = blocks <= from && from < blocks + options_.size * bytes;
  return Run([&] {
    // Only block rank() may be sent while others arrive; with one rank there is nothing but the
    // copy.
    if (from != mine && (inside || options_.size == 1)) {
      if (cudaMemcpyAsync(const_cast<char*>(mine), from, bytes, cudaMemcpyDeviceToDevice,
                          stream_) != cudaSuccess) {
        return ncclUnhandledCudaError;
      }
      from = mine;
    }
    if (options_.size == 1) return ncclSuccess;
    return ncclAllGather(from, receive, bytes, ncclUint8, comm_, stream_);
  });
}

absl::Status NcclCommunicator::AllToAll(const void* send, void* receive, size_t bytes_per_block) {
  if (options_.size == 1) return AllGather(send, receive, bytes_per_block);
  const char* out = static_cast<const char*>(send);
  char* in = static_cast<char*>(receive);
  return Run([&] {
    ncclResult_t result = ncclGroupStart();
    for (int r = 0; r < options_.size && result == ncclSuccess; ++r) {
      result = ncclSend(out + r * bytes_per_block, bytes_per_block, ncclUint8, r, comm_, stream_);
      if (result != ncclSuccess) break;
      result = ncclRecv(in + r * bytes_per_block, bytes_per_block, ncclUint8, r, comm_, stream_);
    }
    const ncclResult_t end = ncclGroupEnd();
    return result == ncclSuccess ? end : result;
  });
}

absl::Status NcclCommunicator::Broadcast(void* data, size_t bytes, int root) {
  EVOGRAD_CHECK(0 <= root && root < options_.size, "the root is a rank");
  return Run([&] {
    if (options_.size == 1) return ncclSuccess;
    return ncclBroadcast(data, data, bytes, ncclUint8, root, comm_, stream_);
  });
}

absl::Status NcclCommunicator::AllocateOwn() {
  EVOGRAD_RETURN_IF_ERROR(
      CudaStatus(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event"));
  void* memory = nullptr;
  EVOGRAD_RETURN_IF_ERROR(CudaStatus(cudaMalloc(&memory, options_.size), "allocating memory"));
  barrier_ = static_cast<char*>(memory);
  return CudaStatus(cudaMemset(barrier_, 0, options_.size), "clearing memory");
}

absl::Status NcclCommunicator::Initialise(const ncclUniqueId& id, const Rendezvous& rendezvous) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  absl::Status status =
      NcclStatus(ncclCommInitRankConfig(&comm_, options_.size, id, options_.rank, &config), comm_);
  if (status.ok()) {
    status = Poll(
        absl::Now() + options_.connect_timeout, [this] { return Idle(); },
        [&] { return rendezvous.Ended(); });
    if (absl::IsDeadlineExceeded(status)) {
      status = absl::DeadlineExceededError(absl::StrCat(
          "not every rank connected within ", absl::FormatDuration(options_.connect_timeout)));
    }
  }
  // NCCL does not tell which.
  if (absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status)) {
    std::vector<int> others;
    for (int rank = 0; rank < options_.size; ++rank) {
      if (rank != options_.rank) others.push_back(rank);
    }
    status = Suspecting(others, std::move(status));
  }
  return status.ok() ? status : Fail(std::move(status));
}

absl::Status NcclCommunicator::Connect(Rendezvous& rendezvous) {
  const absl::Time deadline = absl::Now() + options_.rendezvous_timeout;
  DeviceScope scope(options_.cuda_device);
  EVOGRAD_RETURN_IF_ERROR(AllocateOwn());
  if (options_.size == 1) return absl::OkStatus();
  ncclUniqueId id;
  if (options_.rank == 0) {
    EVOGRAD_RETURN_IF_ERROR(NcclStatus(ncclGetUniqueId(&id), nullptr));
    EVOGRAD_RETURN_IF_ERROR(rendezvous.Put(kIdKey, std::string(id.internal, sizeof id.internal)));
  }
  EVOGRAD_RETURN_IF_ERROR(rendezvous.Put(ReadyKey(options_.rank), "ready"));
  const absl::StatusOr<std::string> waited = rendezvous.Wait(kIdKey, deadline);
  if (!waited.ok()) return OfRank(0, waited.status());
  const std::string& text = *waited;
  if (text.size() != sizeof id.internal) {
    return Suspecting(
        {0}, absl::UnavailableError(absl::StrCat(
                 "rank 0 put an NCCL id of ", text.size(), " bytes into the rendezvous, not ",
                 sizeof id.internal, "; do all run the same version?")));
  }
  std::memcpy(id.internal, text.data(), text.size());
  // Connecting begins when all are there: until then an ended generation is noticed at once.
  for (int r = 0; r < options_.size; ++r) {
    EVOGRAD_RETURN_IF_ERROR(OfRank(r, rendezvous.Wait(ReadyKey(r), deadline).status()));
  }
  return Initialise(id, rendezvous);
}

}  // namespace

int CountCudaDevices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(
    const CommunicatorOptions& options, Rendezvous& rendezvous) {
  EVOGRAD_CHECK(options.size >= 1 && 0 <= options.rank && options.rank < options.size,
                "a rank is below the size");
  const int devices = CountCudaDevices();
  if (options.cuda_device < 0 || options.cuda_device >= devices) {
    return absl::FailedPreconditionError(
        absl::StrCat("there is no CUDA device ", options.cuda_device, " here, where ", devices,
                     " can be used; look at the driver and at CUDA_VISIBLE_DEVICES"));
  }
  auto communicator = std::make_unique<NcclCommunicator>(options);
  absl::Status status = communicator->Connect(rendezvous);
  if (!status.ok() && rendezvous.Ended()) {
    // Peers that heard of it first are gone already: that is no failure of theirs.
    return absl::AbortedError("the generation ended while its ranks connected");
  }
  EVOGRAD_RETURN_IF_ERROR(status);
  return communicator;
}

}  // namespace evograd
