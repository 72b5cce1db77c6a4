#include "server/rpc/upload_call.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/rpc/call.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {

UploadCall* UploadCall::Begin(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                              v1::UploadCheckpointResponse* response) {
  std::shared_ptr<UploadCall> call(new UploadCall(transfer, context, response));
  call->self_ = call;
  transfer->watch_.Add(call);
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
                       [self = shared_from_this()](const absl::StatusOr<Answer>& answer) {
                         self->Begun(answer.status());
                       });
}

void UploadCall::Begun(const absl::Status& status) {
  if (!status.ok()) return End(status);
  int64_t ticket = 0;
  const absl::Status waits = transfer_.uploads_.Acquire(
      header_.job_uid(),
      [self = shared_from_this()](std::unique_ptr<TransferSlots::Slot> slot) {
        self->Granted(std::move(slot));
      },
      &ticket);
  if (!waits.ok()) return End(waits);
  bool ended = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ticket_ = ticket;
    ended = end_.finished;
  }
  if (ended) transfer_.uploads_.Forget(ticket);
}

void UploadCall::Granted(std::unique_ptr<TransferSlots::Slot> slot) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (end_.finished) return;
  }
  // A thread's function is copied.
  std::shared_ptr<TransferSlots::Slot> held = std::move(slot);
  transfer_.StartThread([self = shared_from_this(), held]() mutable {
    const absl::StatusOr<v1::Checkpoint> checkpoint = self->Receive();
    held = nullptr;
    self->End(checkpoint);
  });
}

// ---- On its own thread -----------------------------------------------------------------------

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

void UploadCall::End(const absl::StatusOr<v1::Checkpoint>& checkpoint) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (end_.finished) return;
  if (checkpoint.ok()) *response_->mutable_checkpoint() = *checkpoint;
  FinishOnce(checkpoint.status());
}

void UploadCall::OnTime(int64_t now_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t stall_ms = transfer_.watch_.stall_ms();
  if (peer_since_ms_ != 0 && now_ms - peer_since_ms_ >= stall_ms) {
    FinishOnce(MakeError(absl::StatusCode::kDeadlineExceeded,
                         absl::StrCat("no byte of the upload came for ", stall_ms / 1000, " s"),
                         "TRANSFER_STALLED"));
  }
  end_.CutIfStuck(now_ms, stall_ms);
}

void UploadCall::OnCancel() {
  const std::lock_guard<std::mutex> lock(mutex_);
  FinishOnce(absl::CancelledError("the uploader is gone"));
}

void UploadCall::FinishOnce(const absl::Status& status) {
  if (end_.finished) return;
  end_.Finished();
  ended_ = status;
  changed_.notify_all();
  Finish(ToGrpc(status));
}

void UploadCall::OnDone() {
  int64_t ticket = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_.done = true;
    ticket = ticket_;
  }
  transfer_.uploads_.Forget(ticket);
  const std::shared_ptr<UploadCall> last = std::move(self_);
}

}  // namespace evograd
