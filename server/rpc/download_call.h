// One download of a checkpoint (see checkpoint_transfer.h).
//
// Threads: gRPC's for its callbacks, the loop's for Found, whoever frees a slot for Granted, the
// stall watch's, and one of its own while it has a slot. It lives until all let go of it.
#ifndef EVOGRAD_SERVER_RPC_DOWNLOAD_CALL_H_
#define EVOGRAD_SERVER_RPC_DOWNLOAD_CALL_H_

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "server/rpc/transfer_call.h"

namespace evograd {

class DownloadCall : public grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>,
                     public TransferCall {
 public:
  // gRPC owns the result until it calls OnDone. `transfer` outlives it.
  static DownloadCall* Begin(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                             const v1::DownloadCheckpointRequest& request, bool by_user);

 private:
  DownloadCall(CheckpointTransfer* transfer, grpc::CallbackServerContext* context, bool by_user);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { Release(); }
  void Tell(const grpc::Status& status) override { Finish(status); }

  void Found(const absl::StatusOr<Answer>& answer);

  // ---- On its own thread ----
  absl::Status Run() override;
  absl::Status SendBytes();
  // Writes message_. CANCELLED, DEADLINE_EXCEEDED: the call has ended.
  absl::Status Write();

  // The host of a user; empty: a worker's, whose slots count by job.
  const std::string host_;
  CheckpointLocation location_;
  // gRPC's while it is being written.
  v1::DownloadCheckpointResponse message_;
  // Protected by mutex_.
  bool writing_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_DOWNLOAD_CALL_H_
