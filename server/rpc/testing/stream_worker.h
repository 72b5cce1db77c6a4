// The model worker (server/core/testing/model_worker.h) on a real stream to a real coordinator: one
// thread reads, lets the model do what it can, and writes.
#ifndef EVOGRAD_SERVER_RPC_TESTING_STREAM_WORKER_H_
#define EVOGRAD_SERVER_RPC_TESTING_STREAM_WORKER_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>
#include <thread>

#include "proto/evograd/v1/worker_service.grpc.pb.h"
#include "server/core/testing/model_worker.h"

namespace evograd::testing {

// The bytes of the checkpoint of a step, the same whoever computed them.
std::string CheckpointBytes(int64_t step);
v1::UploadCheckpointRequest UploadHeader(const std::string& job, const std::string& job_uid,
                                         int64_t generation, const std::string& bytes,
                                         int64_t step);
// Sends `bytes` in chunks of `chunk_bytes`.
grpc::Status Upload(v1::WorkerService::Stub* stub, v1::UploadCheckpointRequest header,
                    const std::string& bytes, size_t chunk_bytes = 1000);

class StreamWorker {
 public:
  // Dials at once. `model` goes on from what it holds.
  StreamWorker(const std::shared_ptr<grpc::Channel>& channel, std::shared_ptr<ModelWorker> model);
  // Cuts the stream.
  ~StreamWorker();

  // Waits until the coordinator has closed the stream; how it did.
  grpc::Status WaitClosed();

 private:
  void Run();
  // Lets the model work until it has nothing to do, and sends what it says.
  void Work();

  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  const std::shared_ptr<ModelWorker> model_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  grpc::Status status_;
  std::thread thread_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_RPC_TESTING_STREAM_WORKER_H_
