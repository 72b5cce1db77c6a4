#include "worker/agent/checkpoint_transfer.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/service_limits.h"
#include "common/sha256.h"
#include "grpcpp/grpcpp.h"
#include "spec/retry.h"
#include "worker/agent/backoff.h"
#include "worker/agent/trouble_teller.h"

namespace evograd::agent {
namespace {

absl::Status ToStatus(const grpc::Status& status) {
  return StatusFromWire(status.error_code(), status.error_message(), status.error_details());
}

// Whether the coordinator may answer otherwise a little later.
bool MayPass(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

std::string Sha256Of(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.HexDigest();
}

}  // namespace

void StateBytes(const std::string& bytes, v1::UploadCheckpointRequest* header) {
  header->set_size_bytes(static_cast<int64_t>(bytes.size()));
  header->set_sha256(Sha256Of(bytes));
}

CheckpointTransfer::CheckpointTransfer(Wait wait)
    : wait_(wait ? std::move(wait)
                 : [this](absl::Duration pause) { return stopped_.WaitFor(pause); }) {}

// A call that Stop can reach while it lives.
class CheckpointTransfer::Call {
 public:
  explicit Call(CheckpointTransfer* transfer) : transfer_(*transfer) {
    context_.set_deadline(
        absl::ToChronoTime(absl::Now() + absl::Milliseconds(limits::kTransferTimeoutMs)));
    absl::MutexLock lock(&transfer_.mutex_);
    transfer_.running_ = &context_;
    if (transfer_.stopped_.IsSet()) context_.TryCancel();
  }
  ~Call() {
    absl::MutexLock lock(&transfer_.mutex_);
    transfer_.running_ = nullptr;
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  CheckpointTransfer& transfer_;
  grpc::ClientContext context_;
};

absl::Status CheckpointTransfer::Upload(v1::WorkerService::StubInterface* stub,
                                        v1::UploadCheckpointRequest header,
                                        const std::string& bytes) {
  Call call(this);
  v1::UploadCheckpointResponse response;
  auto writer = stub->UploadCheckpoint(call.context(), &response);
  v1::UploadCheckpointRequest request = std::move(header);
  size_t offset = 0;
  do {
    const size_t size =
        std::min(bytes.size() - offset, static_cast<size_t>(limits::kTransferChunkBytes));
    request.set_chunk(bytes.data() + offset, size);
    // A refusal comes with Finish.
    if (!writer->Write(request)) break;
    offset += size;
    request.Clear();
  } while (offset < bytes.size());
  writer->WritesDone();
  return ToStatus(writer->Finish());
}

absl::StatusOr<std::string> CheckpointTransfer::Download(v1::WorkerService::StubInterface* stub,
                                                         const std::string& name) {
  Call call(this);
  v1::DownloadCheckpointRequest request;
  request.set_name(name);
  auto reader = stub->DownloadCheckpoint(call.context(), request);
  v1::DownloadCheckpointResponse response;
  v1::Checkpoint stated;
  std::string bytes;
  while (reader->Read(&response)) {
    if (response.has_checkpoint()) stated = response.checkpoint();
    bytes.append(response.chunk());
    if (static_cast<int64_t>(bytes.size()) > stated.size_bytes()) call.context()->TryCancel();
  }
  const grpc::Status status = reader->Finish();
  if (static_cast<int64_t>(bytes.size()) > stated.size_bytes()) {
    return absl::DataLossError(absl::StrCat("it came with more than the ", stated.size_bytes(),
                                            " bytes that were stated"));
  }
  if (!status.ok()) return ToStatus(status);
  if (static_cast<int64_t>(bytes.size()) != stated.size_bytes() ||
      Sha256Of(bytes) != stated.sha256()) {
    return absl::DataLossError(
        absl::StrCat("the ", bytes.size(), " bytes that came are not those that were stated"));
  }
  return bytes;
}

absl::StatusOr<std::string> CheckpointTransfer::DownloadPatiently(
    const std::function<std::shared_ptr<v1::WorkerService::StubInterface>()>& stub,
    const std::string& name, const DownloadOptions& options) {
  Backoff backoff(absl::Milliseconds(limits::kReconnectMinMs),
                  absl::Milliseconds(limits::kReconnectMaxMs));
  // One that stalled held a place at the coordinator that others wait for.
  Backoff after_stall(absl::Milliseconds(limits::kRetryRoomMs),
                      absl::Milliseconds(limits::kMaxRetryDelayMs));
  TroubleTeller trouble(options.trouble, absl::Milliseconds(limits::kTroubleIntervalMs));
  const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(options.patience);
  while (true) {
    const auto now_stub = stub();
    absl::StatusOr<std::string> bytes = Download(now_stub.get(), name);
    if (bytes.ok()) trouble.Over();
    if (bytes.ok() || stopped_.IsSet() || !MayPass(bytes.status())) return bytes;
    if (std::chrono::steady_clock::now() >= until) return bytes;
    const std::string text =
        absl::StrCat(name, " could not be fetched yet, trying again: ", bytes.status().message());
    options.say(text);
    trouble.Tell(text);
    Backoff& own = absl::IsDeadlineExceeded(bytes.status()) ? after_stall : backoff;
    const absl::Duration pause =
        AtLeast(GetRetryDelay(bytes.status()), own.Next(Jitter()), Jitter());
    if (wait_(pause)) return absl::CancelledError("stopped");
  }
}

void CheckpointTransfer::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_.Set();
  if (running_ != nullptr) running_->TryCancel();
}

void CheckpointTransfer::Restart() { stopped_.Reset(); }

}  // namespace evograd::agent
