#include "client/cli/follow.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/format.h"
#include "client/cli/patience.h"
#include "client/cli/progress.h"
#include "client/cli/report.h"
#include "client/lib/job_state.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// Events are silent for so long: then the job is looked at, and again so often.
constexpr absl::Duration kSilence = absl::Seconds(2);
constexpr absl::Duration kLookInterval = absl::Seconds(4);
// Nobody wants to wait for an answer that is only shown.
constexpr absl::Duration kLookTimeout = absl::Seconds(3);

// Attached for as long as the object lives.
class Attachment {
 public:
  Attachment(Stopper* stopper, JobWatcher* watcher) : stopper_(stopper) {
    stopper_->Attach(watcher);
  }
  ~Attachment() { stopper_->Attach(nullptr); }

 private:
  Stopper* stopper_;
};

// Shows events, and between them, from a thread of its own, what the job waits for.
class Display {
 public:
  Display(Client* client, const v1::Job& job, absl::Time served_since, Terminal* terminal)
      : client_(ClientOptions{client->address(), kLookTimeout}),
        name_(job.name()),
        served_since_(served_since),
        progress_(terminal, job),
        named_(job.hyperparameter_names_size() > 0),
        thread_([this] { Look(); }) {}
  ~Display() {
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
    }
    thread_.join();
  }

  void SetCompleted(int64_t steps) {
    absl::MutexLock lock(&mutex_);
    progress_.SetCompleted(steps);
  }

  void OnEvent(const v1::Event& event) {
    // Names are known from the first step on; without them the figures are.
    if (!named_ && event.has_steps_committed()) {
      const auto now = client_.GetJob(name_);
      absl::MutexLock lock(&mutex_);
      if (now.ok()) progress_.SetJob(*now);
      named_ = now.ok();
    }
    absl::MutexLock lock(&mutex_);
    last_event_ = absl::Now();
    progress_.OnEvent(event, last_event_);
  }

 private:
  void Look() {
    absl::MutexLock lock(&mutex_);
    absl::Duration pause = kSilence;
    while (!mutex_.AwaitWithTimeout(absl::Condition(&ended_), pause)) {
      const absl::Duration silence = absl::Now() - last_event_;
      pause = kSilence - silence;
      if (pause > absl::ZeroDuration()) continue;
      pause = kLookInterval;
      mutex_.Unlock();
      const auto job = client_.GetJob(name_);
      const absl::Time served_since =
          job.ok() ? std::max(served_since_, ServedSince(&client_)) : served_since_;
      mutex_.Lock();
      // What came in the meantime is newer.
      if (absl::Now() - last_event_ < kSilence || ended_) continue;
      if (job.ok()) {
        progress_.OnSilence(*job, absl::Now(), served_since);
      } else if (absl::IsUnavailable(job.status()) || absl::IsDeadlineExceeded(job.status())) {
        progress_.OnAway(client_.address());
      }
    }
  }

  Client client_;
  const std::string name_;
  const absl::Time served_since_;
  absl::Mutex mutex_;
  Progress progress_ ABSL_GUARDED_BY(mutex_);
  bool named_;  // of the thread that has the events
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time last_event_ ABSL_GUARDED_BY(mutex_) = absl::Now();
  std::thread thread_;
};

// What there is to say, or to answer, when the time is over.
absl::StatusOr<v1::Job> AfterDeadline(Client* client, const std::string& name, bool all_events) {
  const std::string over = absl::StrCat("the time given with --timeout is over; ", name);
  const absl::StatusOr<v1::Job> job = client->GetJob(name);
  if (!job.ok()) {
    return absl::DeadlineExceededError(
        absl::StrCat(over, " could not be looked at: ", job.status().message()));
  }
  if (!IsEnded(job->state())) {
    KnownTimes known;
    known.served_since = ServedSince(client);
    return absl::DeadlineExceededError(absl::StrCat(over, " goes on (",
                                                    v1::JobState_Name(job->state()), ": ",
                                                    PresentReason(*job, absl::Now(), known), ")"));
  }
  if (!all_events) return job;
  return absl::DeadlineExceededError(absl::StrCat(over, " has ended (",
                                                  v1::JobState_Name(job->state()),
                                                  "), and not all of its events were shown"));
}

}  // namespace

absl::Time ServedSince(Client* client) {
  absl::Time since = absl::InfiniteFuture();
  const absl::Status asked = client->ForEachWorker([&](const v1::Worker& worker) {
    if (worker.has_connect_time()) since = std::min(since, ToTime(worker.connect_time()));
    return true;
  });
  return asked.ok() && since != absl::InfiniteFuture() ? since : absl::InfinitePast();
}

absl::StatusOr<v1::Job> Follow(Client* client, const v1::Job& job, const FollowOptions& options,
                               Terminal* terminal, Stopper* stopper) {
  using Show = FollowOptions::Show;
  if (options.show == Show::kNothing && IsEnded(job.state())) return job;
  WatchOptions watch_options;
  watch_options.patience = options.patience;
  watch_options.deadline = options.deadline;
  const std::unique_ptr<JobWatcher> watcher =
      client->Watch(job.name(), options.after_sequence, watch_options);
  const Attachment attachment(stopper, watcher.get());
  std::unique_ptr<Display> display;
  if (options.show == Show::kProgress) {
    display = std::make_unique<Display>(client, job, options.served_since, terminal);
    const bool from_now =
        options.after_sequence > 0 && options.after_sequence == job.last_sequence();
    if (from_now) display->SetCompleted(job.committed_steps());
  }
  v1::Event event;
  while (true) {
    const absl::StatusOr<bool> more = watcher->Next(&event);
    if (absl::IsDeadlineExceeded(more.status())) {
      display.reset();
      return AfterDeadline(client, job.name(), options.show == Show::kJsonLines);
    }
    EVOGRAD_RETURN_IF_ERROR(more.status());
    if (!*more) break;
    if (options.on_event) options.on_event(event);
    if (options.show == Show::kJsonLines) terminal->Print(ToJson(event, /*on_one_line=*/true));
    if (display != nullptr) display->OnEvent(event);
  }
  display.reset();
  // The coordinator may be away now as in the watch.
  const absl::Time deadline = std::min(options.deadline, absl::Now() + options.patience);
  return Patiently(*stopper, deadline, [&] { return client->GetJob(job.name()); });
}

}  // namespace evograd
