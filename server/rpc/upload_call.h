// One upload of a checkpoint (see checkpoint_transfer.h).
//
// Threads: gRPC's for its callbacks, the loop's for Begun, whoever frees a slot for Granted, the
// stall watch's, and one of its own while it has a slot. It lives until all let go of it.
#ifndef EVOGRAD_SERVER_RPC_UPLOAD_CALL_H_
#define EVOGRAD_SERVER_RPC_UPLOAD_CALL_H_

#include <grpcpp/support/server_callback.h>

#include <memory>

#include "server/rpc/transfer_call.h"

namespace evograd {

class UploadCall : public grpc::ServerReadReactor<v1::UploadCheckpointRequest>,
                   public TransferCall {
 public:
  // gRPC owns the result until it calls OnDone. `transfer` outlives it.
  static UploadCall* Begin(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                           v1::UploadCheckpointResponse* response);

 private:
  UploadCall(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
             v1::UploadCheckpointResponse* response);

  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { Release(); }
  void Tell(const grpc::Status& status) override { Finish(status); }

  // ---- On its own thread ----
  absl::Status Run() override;
  absl::StatusOr<v1::Checkpoint> Receive();
  absl::Status ReceiveBytes(const v1::Checkpoint& checkpoint);
  // Removes the file of an upload that was refused, where nothing refers to it.
  void RemoveOrphan(const v1::Checkpoint& checkpoint);
  // The next message into message_; false after the last one. CANCELLED, DEADLINE_EXCEEDED: the
  // call has ended.
  absl::StatusOr<bool> Next();

  // Requires mutex_.
  void Read();

  // Of whoever's turn it is: gRPC's while a message is being read.
  v1::UploadCheckpointRequest message_;
  v1::UploadCheckpointRequest header_;
  // Protected by mutex_; gRPC's once the call has ended.
  v1::UploadCheckpointResponse* const response_;
  enum { kReading, kRead, kReadAll } reading_ = kReading;
  bool begun_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_UPLOAD_CALL_H_
