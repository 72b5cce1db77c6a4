// What the engine does and whether it gets on, for heartbeats: a process that computes, or reads
// pictures in other threads, uses processor time, and one that reads from a slow disk gets bytes;
// one whose engine is stuck in a dead file system or device has neither.
//
// Threads: any.
#ifndef EVOGRAD_WORKER_AGENT_ENGINE_WATCH_H_
#define EVOGRAD_WORKER_AGENT_ENGINE_WATCH_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/evograd/v1/worker.pb.h"
#include "worker/collective/communicator.h"

namespace evograd::agent {

class EngineWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // The engine does this from `now` on; "": nothing.
  void Does(const std::string& what, Time now);
  // It waits in a collective for other ranks; it goes on.
  void Waits(Time now);
  void GoesOn(Time now);
  // It does what uses no processor time and is bounded elsewhere: a download.
  void Fetches(bool fetching);
  // Where it does nothing it may wait for this, which another thread does from `now` on: "storing
  // the checkpoint of step 7"; "": for nothing.
  void Stores(const std::string& what, Time now);

  // What the process has used and read since it began.
  v1::Heartbeat Look(Time now, double processor_seconds, int64_t read_bytes);

 private:
  absl::Mutex mutex_;
  std::string doing_ ABSL_GUARDED_BY(mutex_);
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  bool fetching_ ABSL_GUARDED_BY(mutex_) = false;
  Time began_ ABSL_GUARDED_BY(mutex_);
  Time waits_since_ ABSL_GUARDED_BY(mutex_);
  std::string storing_ ABSL_GUARDED_BY(mutex_);
  Time stores_since_ ABSL_GUARDED_BY(mutex_);
  // When it was last seen to move, and what the process had used and read by then.
  Time moved_ ABSL_GUARDED_BY(mutex_);
  double moved_processor_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t moved_read_ ABSL_GUARDED_BY(mutex_) = 0;
  Time looked_ ABSL_GUARDED_BY(mutex_);
};

// Of this process. Bytes are those of files; 0 where the kernel does not count them.
double ProcessorSeconds();
int64_t ReadBytes();

// `communicator`, with its collectives told to `watch`, which outlives it.
std::unique_ptr<Communicator> Watched(std::unique_ptr<Communicator> communicator,
                                      EngineWatch* watch);

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_ENGINE_WATCH_H_
