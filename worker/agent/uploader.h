// Uploads a checkpoint in a thread of its own, again and again until it is stored, refused or
// stopped, so that the engine computes on meanwhile.
//
// Threads: any.
#ifndef EVOGRAD_WORKER_AGENT_UPLOADER_H_
#define EVOGRAD_WORKER_AGENT_UPLOADER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/service_limits.h"
#include "worker/agent/checkpoint_transfer.h"
#include "worker/agent/steady_flag.h"

namespace evograd::agent {

class Uploader {
 public:
  using Stub = std::shared_ptr<v1::WorkerService::StubInterface>;
  struct Options {
    // The stub of the present connection.
    std::function<Stub()> stub;
    // Called by the uploader's thread when an upload has ended: OK, CANCELLED after Stop, or the
    // coordinator's refusal.
    std::function<void(absl::Status)> done;
    // One line for a person.
    std::function<void(const std::string&)> say;
    // Why the checkpoint is not stored yet, for the job's user. By the uploader's thread: at
    // the first failure of an upload, and when that has changed, then at most every
    // `trouble_interval`.
    std::function<void(const std::string&)> trouble;
    absl::Duration trouble_interval = absl::Milliseconds(limits::kTroubleIntervalMs);
    // Between two tries, where the coordinator asks for no more (spec/retry.h).
    absl::Duration retry_min = absl::Milliseconds(limits::kReconnectMinMs);
    absl::Duration retry_max = absl::Milliseconds(limits::kReconnectMaxMs);
    // Waits between two tries; whether Stop came meanwhile. Null: lets so much time pass.
    CheckpointTransfer::Wait wait;
  };

  explicit Uploader(Options options);
  // Stops and waits for the thread.
  ~Uploader();

  // No upload runs.
  void Start(v1::UploadCheckpointRequest header, std::shared_ptr<const std::string> bytes);
  void Stop();

 private:
  void Loop();
  absl::Status UploadUntilStored();

  const Options options_;
  CheckpointTransfer transfer_;
  SteadyFlag stopped_;

  absl::Mutex mutex_;
  bool exit_ ABSL_GUARDED_BY(mutex_) = false;
  v1::UploadCheckpointRequest header_ ABSL_GUARDED_BY(mutex_);
  // Null while nothing is to be uploaded.
  std::shared_ptr<const std::string> bytes_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_UPLOADER_H_
