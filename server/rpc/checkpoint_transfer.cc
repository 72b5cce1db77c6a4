#include "server/rpc/checkpoint_transfer.h"

#include <thread>
#include <utility>

#include "common/service_limits.h"
#include "server/rpc/download_call.h"
#include "server/rpc/upload_call.h"

namespace evograd {

// One upload of a job at a time: what a refused one leaves is then nobody else's.
CheckpointTransfer::CheckpointTransfer(CoordinatorLoop* loop, CheckpointFiles* files,
                                       StallWatch* watch, Notice notice)
    : loop_(*loop),
      files_(*files),
      watch_(*watch),
      notice_(std::move(notice)),
      uploads_({limits::kMaxUploads, 1, limits::kMaxWaitingTransfers}),
      restores_({limits::kMaxRestores, limits::kMaxRestoresPerJob, limits::kMaxWaitingTransfers}),
      user_downloads_({limits::kMaxUserDownloads, limits::kMaxUserDownloadsPerHost, 0}) {}

CheckpointTransfer::~CheckpointTransfer() {
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [this] { return threads_ == 0; });
}

grpc::ServerReadReactor<v1::UploadCheckpointRequest>* CheckpointTransfer::Receive(
    grpc::CallbackServerContext* context, v1::UploadCheckpointResponse* response) {
  return UploadCall::Begin(this, context, response);
}

grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* CheckpointTransfer::Send(
    grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest& request,
    Caller caller) {
  return DownloadCall::Begin(this, context, request, caller == kUser);
}

void CheckpointTransfer::StartThread(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++threads_;
  }
  std::thread([this, work = std::move(work)]() mutable {
    work();
    // What it holds on to goes first.
    work = nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--threads_ == 0) ended_.notify_all();
  }).detach();
}

}  // namespace evograd
