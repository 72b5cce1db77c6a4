// What the engine does and whether it gets on, for heartbeats: a process that computes, or reads
// pictures in other threads, uses processor time; one whose engine is stuck in a dead file system
// or device does not.
//
// Threads: any.
#ifndef EVOGRAD_WORKER_AGENT_ENGINE_WATCH_H_
#define EVOGRAD_WORKER_AGENT_ENGINE_WATCH_H_

#include <chrono>
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

  // `processor_seconds` is what the process has used since it began.
  v1::Heartbeat Look(Time now, double processor_seconds);

 private:
  absl::Mutex mutex_;
  std::string doing_ ABSL_GUARDED_BY(mutex_);
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  bool fetching_ ABSL_GUARDED_BY(mutex_) = false;
  // Of what it does, or of its wait.
  Time since_ ABSL_GUARDED_BY(mutex_);
  // When it was last seen to move, and what the process had used by then.
  Time moved_ ABSL_GUARDED_BY(mutex_);
  double moved_processor_ ABSL_GUARDED_BY(mutex_) = 0;
  Time looked_ ABSL_GUARDED_BY(mutex_);
};

// Of this process.
double ProcessorSeconds();

// `communicator`, with its collectives told to `watch`, which outlives it.
std::unique_ptr<Communicator> Watched(std::unique_ptr<Communicator> communicator,
                                      EngineWatch* watch);

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_ENGINE_WATCH_H_
