// The bytes of checkpoints over gRPC. Blocking: for gRPC's synchronous methods, which have threads
// of their own.
#ifndef EVOGRAD_SERVER_RPC_CHECKPOINT_TRANSFER_H_
#define EVOGRAD_SERVER_RPC_CHECKPOINT_TRANSFER_H_

#include <grpcpp/support/sync_stream.h>

#include <atomic>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/worker.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/store/checkpoint_files.h"

namespace evograd {

class CheckpointTransfer {
 public:
  // Both outlive this.
  CheckpointTransfer(CoordinatorLoop* loop, CheckpointFiles* files)
      : loop_(*loop), files_(*files) {}

  // Takes an upload in. Errors: see WorkerService.UploadCheckpoint; RESOURCE_EXHAUSTED: too many
  // transfers at once, or the disk is full.
  absl::StatusOr<v1::Checkpoint> Receive(
      grpc::ServerReaderInterface<v1::UploadCheckpointRequest>* reader);

  // NOT_FOUND, RESOURCE_EXHAUSTED as above; DATA_LOSS: the file is damaged, and is no longer
  // offered.
  absl::Status Send(const v1::DownloadCheckpointRequest& request,
                    grpc::ServerWriterInterface<v1::DownloadCheckpointResponse>* writer);

 private:
  class Slot;

  absl::Status ReceiveBytes(const v1::UploadCheckpointRequest& first,
                            grpc::ServerReaderInterface<v1::UploadCheckpointRequest>* reader);
  absl::Status SendBytes(const CheckpointLocation& location,
                         grpc::ServerWriterInterface<v1::DownloadCheckpointResponse>* writer);

  CoordinatorLoop& loop_;
  CheckpointFiles& files_;
  std::atomic<int> transfers_{0};
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_CHECKPOINT_TRANSFER_H_
