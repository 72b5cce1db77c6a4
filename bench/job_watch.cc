#include "bench/job_watch.h"

#include "absl/strings/str_cat.h"
#include "bench/programs.h"

namespace evograd::bench {

int64_t JobHistory::steps_of_generation() const {
  int64_t steps = 0;
  for (auto commit = commits.rbegin(); commit != commits.rend(); ++commit, ++steps) {
    if (commit->generation != generation) break;
  }
  return steps;
}

JobWatch::JobWatch(const std::string& address, const std::string& job)
    : client_(ClientOptions{address}), watcher_(client_.Watch(job)), thread_([this] { Run(); }) {}

JobWatch::~JobWatch() {
  watcher_->Cancel();
  thread_.join();
}

void JobWatch::Run() {
  v1::Event event;
  while (true) {
    const absl::StatusOr<bool> more = watcher_->Next(&event);
    absl::MutexLock lock(&mutex_);
    if (!more.ok()) state_ = std::string(more.status().message());
    over_ = !more.ok() || !*more;
    if (over_) return;
    Take(event);
  }
}

void JobWatch::Take(const v1::Event& event) {
  const absl::Time at =
      absl::FromUnixSeconds(event.time().seconds()) + absl::Nanoseconds(event.time().nanos());
  if (event.has_generation_ended()) history_.ended_at[event.generation_ended().generation()] = at;
  if (event.has_generation_started()) {
    const v1::GenerationStarted& started = event.generation_started();
    history_.generation = started.generation();
    history_.workers.assign(started.workers().begin(), started.workers().end());
    history_.started_at = at;
  }
  for (const v1::StepMetrics& step : event.steps_committed().steps()) {
    history_.commits.push_back({at, event.steps_committed().generation(), step.seconds()});
  }
  history_.checkpoints += event.has_checkpoint_written();
  if (event.has_restarted()) {
    history_.restarts.push_back(
        {event.restarted().from_step(), static_cast<int64_t>(history_.commits.size())});
  }
  if (event.has_state_changed()) state_ = event.state_changed().reason();
}

JobHistory JobWatch::Until(const std::string& what,
                           const std::function<bool(const JobHistory&)>& holds,
                           absl::Duration patience) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return over_ || holds(history_); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&there), patience) || !holds(history_)) {
    Die(absl::StrCat("waited in vain for ", what, "; generation ", history_.generation, ", ",
                     history_.commits.size(), " steps; the last that was heard: ", state_));
  }
  return history_;
}

}  // namespace evograd::bench
