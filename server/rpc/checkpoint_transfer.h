// The bytes of checkpoints over gRPC. A call takes a slot when its first message was read and found
// good, and only while it has one it has a thread, for the files may block. A peer that lets a
// transfer stand still is cut off (StallWatch).
//
// Uploads, workers' downloads and users' downloads have slots of their own. Workers wait for
// theirs, users are told to come again.
#ifndef EVOGRAD_SERVER_RPC_CHECKPOINT_TRANSFER_H_
#define EVOGRAD_SERVER_RPC_CHECKPOINT_TRANSFER_H_

#include <grpcpp/support/server_callback.h>

#include <condition_variable>
#include <functional>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/worker.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/stall_watch.h"
#include "server/rpc/transfer_slots.h"
#include "server/store/checkpoint_files.h"

namespace evograd {

class CheckpointTransfer {
 public:
  enum Caller { kWorker, kUser };

  // What a person should know; from any thread.
  using Notice = std::function<void(const std::string&)>;

  // All outlive this.
  CheckpointTransfer(CoordinatorLoop* loop, CheckpointFiles* files, StallWatch* watch,
                     Notice notice);
  // Waits for the threads of transfers; their calls have ended.
  ~CheckpointTransfer();

  // Takes an upload in. Errors: see WorkerService.UploadCheckpoint; RESOURCE_EXHAUSTED: too many
  // transfers wait, or the disk is full; DEADLINE_EXCEEDED: no byte came for a while.
  grpc::ServerReadReactor<v1::UploadCheckpointRequest>* Receive(
      grpc::CallbackServerContext* context, v1::UploadCheckpointResponse* response);

  // NOT_FOUND, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED as above; DATA_LOSS: the file is damaged, and
  // is no longer offered.
  grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* Send(
      grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest& request,
      Caller caller);

 private:
  friend class TransferCall;
  friend class UploadCall;
  friend class DownloadCall;

  void StartThread(std::function<void()> work);

  CoordinatorLoop& loop_;
  CheckpointFiles& files_;
  StallWatch& watch_;
  const Notice notice_;
  TransferSlots uploads_;
  TransferSlots restores_;
  TransferSlots user_downloads_;

  std::mutex mutex_;
  std::condition_variable ended_;
  // Protected by mutex_.
  int threads_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_CHECKPOINT_TRANSFER_H_
