#include "server/rpc/checkpoint_transfer.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/rpc/call.h"
#include "spec/error.h"

namespace evograd {

// One of the transfers that may run at once, while it lives.
class CheckpointTransfer::Slot {
 public:
  explicit Slot(std::atomic<int>* transfers) : transfers_(*transfers), taken_(++transfers_) {}
  ~Slot() { --transfers_; }

  absl::Status status() const {
    if (taken_ <= limits::kMaxConcurrentTransfers) return absl::OkStatus();
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat(limits::kMaxConcurrentTransfers,
                                  " checkpoints are being transferred; try again in a while"),
                     "TOO_MANY_TRANSFERS");
  }

 private:
  std::atomic<int>& transfers_;
  const int taken_;
};

absl::StatusOr<v1::Checkpoint> CheckpointTransfer::Receive(
    grpc::ServerReaderInterface<v1::UploadCheckpointRequest>* reader) {
  const Slot slot(&transfers_);
  EVOGRAD_RETURN_IF_ERROR(slot.status());
  v1::UploadCheckpointRequest first;
  if (!reader->Read(&first)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "the upload has no first message",
                     "EMPTY_UPLOAD");
  }
  v1::UploadCheckpointRequest header = first;
  header.clear_chunk();
  EVOGRAD_RETURN_IF_ERROR(CallAndWait<Done>(&loop_, BeginUploadInput{{}, header}).status());
  EVOGRAD_RETURN_IF_ERROR(ReceiveBytes(first, reader));
  EVOGRAD_ASSIGN_OR_RETURN(const UploadFinished finished,
                           CallAndWait<UploadFinished>(&loop_, FinishUploadInput{{}, header}));
  for (const CheckpointLocation& obsolete : finished.obsolete) {
    files_.Remove(obsolete.job_uid, obsolete.checkpoint);
  }
  return finished.checkpoint;
}

absl::Status CheckpointTransfer::ReceiveBytes(
    const v1::UploadCheckpointRequest& first,
    grpc::ServerReaderInterface<v1::UploadCheckpointRequest>* reader) {
  v1::Checkpoint checkpoint;
  checkpoint.set_step(first.step());
  checkpoint.set_size_bytes(first.size_bytes());
  checkpoint.set_sha256(first.sha256());
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointFiles::Writer> writer,
                           files_.Write(first.job_uid(), checkpoint));
  EVOGRAD_RETURN_IF_ERROR(writer->Append(first.chunk()));
  for (v1::UploadCheckpointRequest next; reader->Read(&next);) {
    EVOGRAD_RETURN_IF_ERROR(writer->Append(next.chunk()));
  }
  return writer->Finish();
}

absl::Status CheckpointTransfer::Send(
    const v1::DownloadCheckpointRequest& request,
    grpc::ServerWriterInterface<v1::DownloadCheckpointResponse>* writer) {
  const Slot slot(&transfers_);
  EVOGRAD_RETURN_IF_ERROR(slot.status());
  EVOGRAD_ASSIGN_OR_RETURN(
      const CheckpointLocation location,
      CallAndWait<CheckpointLocation>(&loop_, FindCheckpointInput{{}, request}));
  const absl::Status status = SendBytes(location, writer);
  if (status.code() != absl::StatusCode::kDataLoss) return status;
  // Before the caller hears of it, so that what the caller says next finds the coordinator
  // informed.
  const absl::StatusOr<Done> told =
      CallAndWait<Done>(&loop_, DamagedCheckpointInput{{}, location.job_uid, location.checkpoint});
  return told.ok() ? status : told.status();
}

absl::Status CheckpointTransfer::SendBytes(
    const CheckpointLocation& location,
    grpc::ServerWriterInterface<v1::DownloadCheckpointResponse>* writer) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointFiles::Reader> reader,
                           files_.Read(location.job_uid, location.checkpoint));
  v1::DownloadCheckpointResponse message;
  *message.mutable_checkpoint() = location.checkpoint;
  while (true) {
    EVOGRAD_ASSIGN_OR_RETURN(*message.mutable_chunk(), reader->Next());
    if (message.chunk().empty()) return absl::OkStatus();
    if (!writer->Write(message)) return absl::CancelledError("the receiver is gone");
    message.clear_checkpoint();
  }
}

}  // namespace evograd
