// One download of a checkpoint (see checkpoint_transfer.h).
//
// Threads: gRPC's for its callbacks, the loop's for Found, whoever frees a slot for Granted, the
// stall watch's, and one of its own while it has a slot. It lives until all let go of it.
#ifndef EVOGRAD_SERVER_RPC_DOWNLOAD_CALL_H_
#define EVOGRAD_SERVER_RPC_DOWNLOAD_CALL_H_

#include <grpcpp/support/server_callback.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "server/rpc/checkpoint_transfer.h"

namespace evograd {

class DownloadCall : public grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>,
                     public StallWatch::Watched,
                     public std::enable_shared_from_this<DownloadCall> {
 public:
  // gRPC owns the result until it calls OnDone. `transfer` outlives it.
  static DownloadCall* Begin(CheckpointTransfer* transfer, grpc::CallbackServerContext* context,
                             const v1::DownloadCheckpointRequest& request, bool by_user);

  void OnTime(int64_t now_ms) override;

 private:
  DownloadCall(CheckpointTransfer* transfer, grpc::CallbackServerContext* context, bool by_user);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Found(const absl::StatusOr<Answer>& answer);
  void Granted(std::unique_ptr<TransferSlots::Slot> slot);

  // ---- On its own thread ----
  absl::Status Send();
  absl::Status SendBytes();
  // Writes message_. CANCELLED, DEADLINE_EXCEEDED: the call has ended.
  absl::Status Write();

  void End(const absl::Status& status);
  // Requires mutex_.
  void FinishOnce(const absl::Status& status);

  CheckpointTransfer& transfer_;
  TransferSlots& slots_;
  // The host of a user; empty: a worker's, whose slots count by job.
  const std::string host_;
  // Keeps itself until OnDone.
  std::shared_ptr<DownloadCall> self_;
  CheckpointLocation location_;
  // gRPC's while it is being written.
  v1::DownloadCheckpointResponse message_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  bool writing_ = false;
  // Since when it is the peer's turn; 0: it is not.
  int64_t peer_since_ms_ = 0;
  int64_t ticket_ = 0;
  absl::Status ended_;
  CallEnd end_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_DOWNLOAD_CALL_H_
