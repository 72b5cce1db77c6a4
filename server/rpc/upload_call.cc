#include "server/rpc/upload_call.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/rpc/call.h"
#include "spec/error.h"

namespace evograd {

UploadCall::UploadCall(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                       v1::UploadCheckpointResponse* response)
    : TransferCall(transfer, &transfer->uploads_, context, "no byte of the upload came"),
      response_(response) {}

UploadCall* UploadCall::Begin(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                              v1::UploadCheckpointResponse* response) {
  const std::shared_ptr<UploadCall> call(new UploadCall(transfer, context, response));
  call->Keep();
  const std::lock_guard<std::mutex> lock(call->mutex_);
  call->Read();
  return call.get();
}

void UploadCall::Read() {
  reading_ = kReading;
  peer_since_ms_ = StallWatch::Now();
  StartRead(&message_);
}

void UploadCall::OnReadDone(bool ok) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    peer_since_ms_ = 0;
    reading_ = ok ? kRead : kReadAll;
    changed_.notify_all();
    if (std::exchange(begun_, true) || end_.finished) return;
    if (!ok) {
      return FinishOnce(MakeError(absl::StatusCode::kInvalidArgument,
                                  "the upload has no first message", "EMPTY_UPLOAD"));
    }
  }
  header_ = message_;
  header_.clear_chunk();
  transfer_.loop_.Call(BeginUploadInput{{}, header_},
                       [self = shared_from_this(), this](const absl::StatusOr<Answer>& answer) {
                         if (!answer.ok()) return End(answer.status());
                         WaitForSlot(header_.job_uid());
                       });
}

// ---- On its own thread -----------------------------------------------------------------------

absl::Status UploadCall::Run() {
  EVOGRAD_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint, Receive());
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!end_.finished) *response_->mutable_checkpoint() = checkpoint;
  return absl::OkStatus();
}

absl::StatusOr<v1::Checkpoint> UploadCall::Receive() {
  v1::Checkpoint checkpoint;
  checkpoint.set_step(header_.step());
  checkpoint.set_size_bytes(header_.size_bytes());
  checkpoint.set_sha256(header_.sha256());
  EVOGRAD_RETURN_IF_ERROR(ReceiveBytes(checkpoint));
  const absl::StatusOr<UploadFinished> finished =
      CallAndWait<UploadFinished>(&transfer_.loop_, FinishUploadInput{{}, header_});
  if (!finished.ok()) {
    RemoveOrphan(checkpoint);
    return finished.status();
  }
  for (const CheckpointLocation& obsolete : finished->obsolete) {
    transfer_.files_.Remove(obsolete.job_uid, obsolete.checkpoint);
  }
  return finished->checkpoint;
}

absl::Status UploadCall::ReceiveBytes(const v1::Checkpoint& checkpoint) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointFiles::Writer> writer,
                           transfer_.files_.Write(header_.job_uid(), checkpoint));
  for (bool more = true; more;) {
    EVOGRAD_RETURN_IF_ERROR(writer->Append(message_.chunk()));
    EVOGRAD_ASSIGN_OR_RETURN(more, Next());
  }
  return writer->Finish();
}

void UploadCall::RemoveOrphan(const v1::Checkpoint& checkpoint) {
  // The same bytes may have been stored before, by an upload whose answer was lost. No other upload
  // of the job runs meanwhile.
  FindCheckpointInput find;
  find.request.set_name(absl::StrCat(header_.job(), "/checkpoints/", header_.step()));
  const absl::StatusOr<CheckpointLocation> stored =
      CallAndWait<CheckpointLocation>(&transfer_.loop_, std::move(find));
  const bool referred_to = stored.ok() && stored->job_uid == header_.job_uid() &&
                           stored->checkpoint.sha256() == checkpoint.sha256();
  const bool known = stored.ok() || absl::IsNotFound(stored.status());
  if (known && !referred_to) transfer_.files_.Remove(header_.job_uid(), checkpoint);
}

absl::StatusOr<bool> UploadCall::Next() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!end_.finished) {
    if (reading_ == kRead) Read();
    changed_.wait(lock, [this] { return end_.finished || reading_ != kReading; });
  }
  if (end_.finished) return ended_;
  return reading_ == kRead;
}

// ---- The end ---------------------------------------------------------------------------------

void UploadCall::OnCancel() { End(absl::CancelledError("the uploader is gone")); }

}  // namespace evograd
