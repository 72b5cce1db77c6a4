// What waits to be written to the worker's stream; long messages leave it in parts, and heartbeats
// before the next part. Bounded: when the coordinator reads nothing for so long that it is full, it
// closes, and the stream is given up.
//
// Threads: any; one takes.
#ifndef EVOGRAD_WORKER_AGENT_OUTBOX_H_
#define EVOGRAD_WORKER_AGENT_OUTBOX_H_

#include <cstddef>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "common/service_limits.h"
#include "proto/evograd/v1/worker.pb.h"
#include "worker/agent/message_cutter.h"

namespace evograd::agent {

class Outbox {
 public:
  explicit Outbox(size_t capacity, size_t part_bytes = limits::kMessagePartBytes)
      : capacity_(capacity), cutter_(part_bytes) {}

  // Empties it and opens it for a new stream. It begins closed.
  void Open();
  // What waits is thrown away; Take returns false from now on.
  void Close();

  // Thrown away while it is closed. Closes it when it is full.
  void Push(v1::WorkerMessage message);
  // Goes before everything else, in place of another heartbeat that waits: what waits is no reason
  // for the coordinator to think that the worker is dead.
  void PushHeartbeat(v1::Heartbeat heartbeat);

  // Waits for a message, or a part of one; false when it is closed.
  bool Take(v1::WorkerMessage* message);
  // Whether it was closed because it was full.
  bool overflowed() const;

 private:
  const size_t capacity_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<v1::WorkerMessage> messages_ ABSL_GUARDED_BY(mutex_);
  // Of the message that leaves in parts.
  MessageCutter cutter_ ABSL_GUARDED_BY(mutex_);
  absl::optional<v1::Heartbeat> heartbeat_ ABSL_GUARDED_BY(mutex_);
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool overflowed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_OUTBOX_H_
