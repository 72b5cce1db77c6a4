// The events of one job, each once and in order, over as many connections as it takes.
//
// Threads: Next from one thread; Cancel from any.
#ifndef EVOGRAD_CLIENT_LIB_JOB_WATCHER_H_
#define EVOGRAD_CLIENT_LIB_JOB_WATCHER_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"

namespace evograd {

struct WatchOptions {
  // How long a coordinator may be away before the watch gives up: a restart of its machine.
  absl::Duration patience = absl::Minutes(2);
  // When to give up altogether.
  absl::Time deadline = absl::InfiniteFuture();
  // Waits before a new try; null: lets so much time pass, or less when cancelled.
  std::function<void(absl::Duration)> pause = nullptr;
};

class JobWatcher {
 public:
  // `address` is for messages.
  JobWatcher(std::shared_ptr<grpc::Channel> channel, std::string address, std::string job,
             int64_t after_sequence, WatchOptions options);
  ~JobWatcher();

  // Waits for the next event. False: the job has ended and all its events were given. CANCELLED:
  // after Cancel. DEADLINE_EXCEEDED: at the deadline. UNAVAILABLE, RESOURCE_EXHAUSTED: the
  // coordinator was away, or had no room for the watch, for longer than `patience`. NOT_FOUND: no
  // such job. INTERNAL: the coordinator left an event out.
  absl::StatusOr<bool> Next(v1::Event* event);

  // Ends a waiting Next and all later ones.
  void Cancel();

  // Of the last event that Next gave.
  int64_t sequence() const { return sequence_; }

 private:
  using Reader = grpc::ClientReader<v1::WatchJobResponse>;

  // A stream from the event after the last one read. CANCELLED.
  absl::Status Open();
  // What to do about a stream that ended with an error: OK after a pause, to try again.
  absl::Status AfterError(const grpc::Status& error);
  // Not for so long; less when cancelled.
  void Pause(absl::Duration pause);

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::JobService::Stub> stub_;
  const std::string address_;
  const std::string job_;
  const WatchOptions options_;

  // Of the thread that calls Next.
  std::unique_ptr<Reader> reader_;
  std::deque<v1::Event> received_;
  int64_t sequence_;
  int failures_ = 0;  // since the last message
  absl::Time last_contact_ = absl::InfinitePast();

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Replaced only while there is no stream.
  std::unique_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_JOB_WATCHER_H_
