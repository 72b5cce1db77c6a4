// The bytes of checkpoints between worker and coordinator, in chunks, with their SHA-256.
//
// Threads: one transfer at a time; Stop by any thread.
#ifndef EVOGRAD_WORKER_AGENT_CHECKPOINT_TRANSFER_H_
#define EVOGRAD_WORKER_AGENT_CHECKPOINT_TRANSFER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/service_limits.h"
#include "proto/evograd/v1/worker_service.grpc.pb.h"
#include "worker/agent/steady_flag.h"

namespace evograd::agent {

// Puts size and hash of `bytes` into `header`; takes a second or two for each GB.
void StateBytes(const std::string& bytes, v1::UploadCheckpointRequest* header);

class CheckpointTransfer {
 public:
  // How to wait between two tries; whether Stop came meanwhile. Null: lets so much time pass.
  using Wait = std::function<bool(absl::Duration)>;

  struct DownloadOptions {
    // Gives up when so much time has passed.
    absl::Duration patience = absl::Milliseconds(limits::kRestorePatienceMs);
    // One line for a person before each new try.
    std::function<void(const std::string&)> say;
    // Why the checkpoint is not there yet, for the job's user, as TroubleTeller tells it.
    std::function<void(const std::string&)> trouble;
  };

  explicit CheckpointTransfer(Wait wait = nullptr);

  // OK means durable. `header` states size and hash of `bytes`. CANCELLED after Stop; otherwise
  // what the coordinator answers.
  absl::Status Upload(v1::WorkerService::StubInterface* stub, v1::UploadCheckpointRequest header,
                      const std::string& bytes);

  // DATA_LOSS where the bytes are not those that were stated; CANCELLED after Stop; otherwise what
  // the coordinator answers.
  absl::StatusOr<std::string> Download(v1::WorkerService::StubInterface* stub,
                                       const std::string& name);

  // The same again and again, each time of `stub()`, while the coordinator is busy, away, or cuts
  // the transfer short, and never sooner than the coordinator asked for (spec/retry.h).
  absl::StatusOr<std::string> DownloadPatiently(
      const std::function<std::shared_ptr<v1::WorkerService::StubInterface>()>& stub,
      const std::string& name, const DownloadOptions& options);

  // The transfer that runs, and all to come before Restart, end with CANCELLED.
  void Stop();
  void Restart();

 private:
  class Call;

  SteadyFlag stopped_;
  const Wait wait_;
  absl::Mutex mutex_;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_CHECKPOINT_TRANSFER_H_
