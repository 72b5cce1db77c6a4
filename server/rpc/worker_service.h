// WorkerService over gRPC. No call holds a thread of the server; a transfer of a checkpoint has one
// of its own while it runs.
#ifndef EVOGRAD_SERVER_RPC_WORKER_SERVICE_H_
#define EVOGRAD_SERVER_RPC_WORKER_SERVICE_H_

#include "proto/evograd/v1/worker_service.grpc.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/checkpoint_transfer.h"
#include "server/rpc/stall_watch.h"
#include "server/rpc/worker_stream.h"

namespace evograd {

class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  // All outlive the service.
  WorkerService(CoordinatorLoop* loop, StallWatch* watch, CheckpointTransfer* transfer)
      : shared_{loop, watch, &partial_messages_}, transfer_(*transfer) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext* context) override {
    return WorkerStream::Begin(shared_, context);
  }

  grpc::ServerReadReactor<v1::UploadCheckpointRequest>* UploadCheckpoint(
      grpc::CallbackServerContext* context, v1::UploadCheckpointResponse* response) override {
    return transfer_.Receive(context, response);
  }

  grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* DownloadCheckpoint(
      grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest* request) override {
    return transfer_.Send(context, *request, CheckpointTransfer::kWorker);
  }

 private:
  MessageJoiner::Budget partial_messages_;
  const WorkerStream::Shared shared_;
  CheckpointTransfer& transfer_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_WORKER_SERVICE_H_
