// One upload of a checkpoint (see checkpoint_transfer.h).
//
// Threads: gRPC's for its callbacks, the loop's for Begun, whoever frees a slot for Granted, the
// stall watch's, and one of its own while it has a slot. It lives until all let go of it.
#ifndef EVOGRAD_SERVER_RPC_UPLOAD_CALL_H_
#define EVOGRAD_SERVER_RPC_UPLOAD_CALL_H_

#include <grpcpp/support/server_callback.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "server/rpc/checkpoint_transfer.h"

namespace evograd {

class UploadCall : public grpc::ServerReadReactor<v1::UploadCheckpointRequest>,
                   public StallWatch::Watched,
                   public std::enable_shared_from_this<UploadCall> {
 public:
  // gRPC owns the result until it calls OnDone. `transfer` outlives it.
  static UploadCall* Begin(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                           v1::UploadCheckpointResponse* response);

  void OnTime(int64_t now_ms) override;

 private:
  UploadCall(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
             v1::UploadCheckpointResponse* response)
      : transfer_(*transfer), response_(response) {
    end_.context = context;
  }

  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Begun(const absl::Status& status);
  void Granted(std::unique_ptr<TransferSlots::Slot> slot);

  // ---- On its own thread ----
  absl::StatusOr<v1::Checkpoint> Receive();
  absl::Status ReceiveBytes(const v1::Checkpoint& checkpoint);
  // Removes the file of an upload that was refused, where nothing refers to it.
  void RemoveOrphan(const v1::Checkpoint& checkpoint);
  // The next message into message_; false after the last one. CANCELLED, DEADLINE_EXCEEDED: the
  // call has ended.
  absl::StatusOr<bool> Next();

  void End(const absl::StatusOr<v1::Checkpoint>& checkpoint);
  // Both require mutex_.
  void Read();
  void FinishOnce(const absl::Status& status);

  CheckpointTransfer& transfer_;
  // Keeps itself until OnDone.
  std::shared_ptr<UploadCall> self_;
  // Of whoever's turn it is: gRPC's while a message is being read.
  v1::UploadCheckpointRequest message_;
  v1::UploadCheckpointRequest header_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  v1::UploadCheckpointResponse* const response_;
  enum { kReading, kRead, kReadAll } reading_ = kReading;
  bool begun_ = false;
  // Since when it is the peer's turn; 0: it is not.
  int64_t peer_since_ms_ = 0;
  int64_t ticket_ = 0;
  absl::Status ended_;
  CallEnd end_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_UPLOAD_CALL_H_
