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
#include "worker/agent/checkpoint_transfer.h"

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
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool exit_ ABSL_GUARDED_BY(mutex_) = false;
  v1::UploadCheckpointRequest header_ ABSL_GUARDED_BY(mutex_);
  // Null while nothing is to be uploaded.
  std::shared_ptr<const std::string> bytes_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_UPLOADER_H_
