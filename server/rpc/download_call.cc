#include "server/rpc/download_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/rpc/call.h"
#include "server/rpc/peer_name.h"
#include "spec/error.h"

namespace evograd {

DownloadCall::DownloadCall(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                           bool by_user)
    : TransferCall(transfer, by_user ? &transfer->user_downloads_ : &transfer->restores_, context,
                   "nothing of the download was read"),
      host_(by_user ? HostOf(context->peer()) : "") {}

DownloadCall* DownloadCall::Begin(CheckpointTransfer* transfer,
                                  grpc::CallbackServerContext* context,
                                  const v1::DownloadCheckpointRequest& request, bool by_user) {
  const std::shared_ptr<DownloadCall> call(new DownloadCall(transfer, context, by_user));
  call->Keep();
  transfer->loop_.Call(FindCheckpointInput{{}, request},
                       [call](const absl::StatusOr<Answer>& answer) { call->Found(answer); });
  return call.get();
}

void DownloadCall::Found(const absl::StatusOr<Answer>& answer) {
  if (!answer.ok()) return End(answer.status());
  location_ = std::get<CheckpointLocation>(*answer);
  WaitForSlot(host_.empty() ? location_.job_uid : host_);
}

// ---- On its own thread -----------------------------------------------------------------------

absl::Status DownloadCall::Run() {
  const absl::Status status = SendBytes();
  if (status.code() != absl::StatusCode::kDataLoss) return status;
  // Before the caller hears of it, so that what the caller says next finds the coordinator
  // informed.
  const absl::StatusOr<Done> told = CallAndWait<Done>(
      &transfer_.loop_, DamagedCheckpointInput{{}, location_.job_uid, location_.checkpoint});
  if (!told.ok()) return told.status();
  const bool kept = transfer_.files_.SetAside(location_.job_uid, location_.checkpoint);
  if (transfer_.notice_) {
    transfer_.notice_(absl::StrCat(
        status.message(), "; it is no longer offered",
        kept ? ", and what is left of it lies in checkpoints/unknown of the data directory" : ""));
  }
  return status;
}

absl::Status DownloadCall::SendBytes() {
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointFiles::Reader> reader,
                           transfer_.files_.Read(location_.job_uid, location_.checkpoint));
  *message_.mutable_checkpoint() = location_.checkpoint;
  while (true) {
    EVOGRAD_ASSIGN_OR_RETURN(const std::string bytes, reader->Next());
    if (bytes.empty()) return absl::OkStatus();
    for (size_t at = 0; at < bytes.size(); at += limits::kTransferChunkBytes) {
      message_.set_chunk(
          bytes.data() + at,
          std::min(bytes.size() - at, static_cast<size_t>(limits::kTransferChunkBytes)));
      EVOGRAD_RETURN_IF_ERROR(Write());
      message_.clear_checkpoint();
    }
  }
}

absl::Status DownloadCall::Write() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!end_.finished) {
    writing_ = true;
    peer_since_ms_ = StallWatch::Now();
    StartWrite(&message_);
    // Not before gRPC has let go of the message.
    changed_.wait(lock, [this] { return !writing_; });
  }
  return end_.finished ? ended_ : absl::OkStatus();
}

// ---- gRPC's ------------------------------------------------------------------

void DownloadCall::OnWriteDone(bool ok) {
  const std::lock_guard<std::mutex> lock(mutex_);
  writing_ = false;
  peer_since_ms_ = 0;
  if (!ok) FinishOnce(absl::CancelledError("the receiver is gone"));
  changed_.notify_all();
}

void DownloadCall::OnCancel() { End(absl::CancelledError("the receiver is gone")); }

}  // namespace evograd
