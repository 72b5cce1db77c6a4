// The bytes of checkpoints between worker and coordinator, in chunks, with their SHA-256.
//
// Threads: one transfer at a time; Stop by any thread.
#ifndef EVOGRAD_WORKER_AGENT_CHECKPOINT_TRANSFER_H_
#define EVOGRAD_WORKER_AGENT_CHECKPOINT_TRANSFER_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/evograd/v1/worker_service.grpc.pb.h"

namespace evograd::agent {

class CheckpointTransfer {
 public:
  // OK means durable. `header` lacks size, hash and bytes. CANCELLED after Stop; otherwise what the
  // coordinator answers.
  absl::Status Upload(v1::WorkerService::StubInterface* stub, v1::UploadCheckpointRequest header,
                      const std::string& bytes);

  // DATA_LOSS where the bytes are not those that were stated; CANCELLED after Stop; otherwise what
  // the coordinator answers.
  absl::StatusOr<std::string> Download(v1::WorkerService::StubInterface* stub,
                                       const std::string& name);

  // The transfer that runs, and all to come before Restart, end with CANCELLED.
  void Stop();
  void Restart();

 private:
  class Call;

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_CHECKPOINT_TRANSFER_H_
