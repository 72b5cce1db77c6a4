// WorkerService over gRPC. Connect holds no thread; each transfer of a checkpoint holds one of the
// server's.
#ifndef EVOGRAD_SERVER_RPC_WORKER_SERVICE_H_
#define EVOGRAD_SERVER_RPC_WORKER_SERVICE_H_

#include "proto/evograd/v1/worker_service.grpc.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/checkpoint_transfer.h"
#include "server/rpc/status_grpc.h"
#include "server/rpc/worker_stream.h"

namespace evograd {

class WorkerService final
    : public v1::WorkerService::WithCallbackMethod_Connect<v1::WorkerService::Service> {
 public:
  // Both outlive the service.
  WorkerService(CoordinatorLoop* loop, CheckpointTransfer* transfer)
      : loop_(*loop), transfer_(*transfer) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext* context) override {
    return WorkerStream::Begin(&loop_);
  }

  grpc::Status UploadCheckpoint(grpc::ServerContext* context,
                                grpc::ServerReader<v1::UploadCheckpointRequest>* reader,
                                v1::UploadCheckpointResponse* response) override {
    const absl::StatusOr<v1::Checkpoint> checkpoint = transfer_.Receive(reader);
    if (checkpoint.ok()) *response->mutable_checkpoint() = *checkpoint;
    return ToGrpc(checkpoint.status());
  }

  grpc::Status DownloadCheckpoint(
      grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
      grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override {
    return ToGrpc(transfer_.Send(*request, writer));
  }

 private:
  CoordinatorLoop& loop_;
  CheckpointTransfer& transfer_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_WORKER_SERVICE_H_
