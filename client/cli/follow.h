// A job watched to its end.
#ifndef EVOGRAD_CLIENT_CLI_FOLLOW_H_
#define EVOGRAD_CLIENT_CLI_FOLLOW_H_

#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/cli/session.h"
#include "client/lib/client.h"
#include "client/lib/job_watcher.h"

namespace evograd {

// Ends a Follow from another thread, at any time: also before it began.
class Stopper {
 public:
  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    if (watcher_ != nullptr) watcher_->Cancel();
  }
  // Waits for Stop, at most `timeout`; whether it came.
  bool WaitForStop(absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&stopped_), timeout);
  }
  bool stopped() const {
    absl::MutexLock lock(&mutex_);
    return stopped_;
  }
  // Null detaches.
  void Attach(JobWatcher* watcher) {
    absl::MutexLock lock(&mutex_);
    watcher_ = watcher;
    if (stopped_ && watcher_ != nullptr) watcher_->Cancel();
  }

 private:
  mutable absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  JobWatcher* watcher_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

struct FollowOptions {
  enum class Show { kNothing, kProgress, kJsonLines };
  Show show = Show::kProgress;
  absl::Time deadline = absl::InfiniteFuture();
  // How long the coordinator may be away.
  absl::Duration patience = WatchOptions().patience;
  // Events before are passed over: v1::Job::last_sequence for what is new alone.
  int64_t after_sequence = 0;
  // Since when the coordinator serves, at the earliest.
  absl::Time served_since = absl::InfinitePast();
  // Of each event, shown or not.
  std::function<void(const v1::Event&)> on_event;
};

// Since when the coordinator serves, as far as it says: a worker is connected that long. What it
// does not say is InfinitePast.
absl::Time ServedSince(Client* client);

// Shows the job's events until it ends, and what it waits for while there are none; answers the
// ended job. CANCELLED: `stopper` was stopped (the job goes on). DEADLINE_EXCEEDED: the job goes
// on, or has ended and its events are not all shown as JSON. Else the client's errors.
absl::StatusOr<v1::Job> Follow(Client* client, const v1::Job& job, const FollowOptions& options,
                               Terminal* terminal, Stopper* stopper);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_FOLLOW_H_
