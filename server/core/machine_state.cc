#include "server/core/machine_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "server/core/job_state.h"
#include "server/core/timestamp.h"

namespace evograd {
std::string MachineState::Silence(const JobEntry& job) const {
  const ActiveJob& active = *job.active;
  std::string text;
  if (now.monotonic_ms - active.last_step_ms >= limits::kSilentStepMs) {
    // Who computes keeps those waiting that wait for others.
    const WorkerEntry* slowest = nullptr;
    // Of those that wait, who has waited longest.
    const auto badness = [](const WorkerEntry& worker) {
      return std::make_pair(!worker.doing.waiting(), worker.doing.doing_seconds());
    };
    size_t waiting = 0;
    for (const WorkerId& id : active.group.ranks) {
      const WorkerEntry* worker = workers.Find(id);
      if (worker == nullptr || worker->doing.doing().empty()) continue;
      if (worker->doing.waiting()) ++waiting;
      if (slowest == nullptr || badness(*worker) > badness(*slowest)) slowest = worker;
    }
    if (waiting > 1 && waiting == active.group.ranks.size()) {
      absl::StrAppend(&text, "; its workers wait for each other");
    } else if (slowest != nullptr) {
      absl::StrAppend(&text, "; ", slowest->id.value(), " is at `", slowest->doing.doing(), "`",
                      slowest->doing.waiting() ? ", waiting for others" : "");
    }
  }
  if (!active.trouble.empty()) absl::StrAppend(&text, "; ", active.trouble);
  return text;
}

std::string MachineState::WhoHasNotLeft(const JobEntry& job) const {
  const WorkerEntry* first = nullptr;
  int64_t others = -1;
  for (const WorkerId& id : job.active->group.ranks) {
    const WorkerEntry* worker = workers.Find(id);
    const bool leaving =
        worker != nullptr && worker->job_uid == job.uid() && worker->phase == WorkerPhase::kLeaving;
    if (!leaving) continue;
    if (first == nullptr) first = worker;
    ++others;
  }
  if (first == nullptr) return "its workers";
  std::string text = first->id.value();
  if (!first->doing.doing().empty()) absl::StrAppend(&text, ", at `", first->doing.doing(), "`,");
  if (others > 0) absl::StrAppend(&text, " and ", others, others == 1 ? " other" : " others");
  return text;
}

std::string MachineState::Reason(const JobEntry& job) const {
  if (job.active == nullptr) return job.job().reason();
  const Group& group = job.active->group;
  const int64_t size = static_cast<int64_t>(group.ranks.size());
  switch (group.phase) {
    case GroupPhase::kRunning:
      return absl::StrCat("computing on ", size, size == 1 ? " worker" : " workers", Silence(job));
    case GroupPhase::kLeaving:
      return absl::StrCat("forming a new group: waiting for ", WhoHasNotLeft(job),
                          " to leave generation ", job.job().generation());
    case GroupPhase::kNone:
      break;
  }
  if (!job.active->waiting.empty()) return job.active->waiting;
  const int count = job.job().spec().min_workers();
  const std::string text = absl::StrCat("needs ", count, count == 1 ? " worker" : " workers", "; ");
  const size_t connected = workers.all().size();
  if (connected >= static_cast<size_t>(count)) return text + "none is free for it";
  if (connected == 0) return text + "none is connected";
  return absl::StrCat(text, "only ", connected, connected == 1 ? " is" : " are", " connected");
}

v1::Event MachineState::NewEvent(JobEntry* job) {
  v1::Event event;
  event.set_sequence(++job->last_event);
  *event.mutable_time() = Timestamp(now.unix_ms);
  return event;
}

void MachineState::SetState(JobEntry* job, v1::JobState state, const std::string& reason) {
  job->job().set_state(state);
  job->job().set_reason(reason);
  if (IsEnded(state)) *job->job().mutable_end_time() = Timestamp(now.unix_ms);
  AddEvent(job, [&](v1::Event* event) {
    event->mutable_state_changed()->set_state(state);
    event->mutable_state_changed()->set_reason(reason);
  });
  Touch(job);
}

void MachineState::AddNotice(JobEntry* job, const WorkerId& worker, const std::string& text) {
  AddEvent(job, [&](v1::Event* event) {
    event->mutable_notice()->set_text(text);
    if (!worker.empty()) event->mutable_notice()->set_worker(WorkerName(worker));
  });
}

void MachineState::SendTo(const WorkerEntry& worker, v1::CoordinatorMessage message) {
  effects.sends.push_back({worker.connection, std::move(message)});
}

void MachineState::Answer(CallId call, absl::StatusOr<evograd::Answer> answer) {
  effects.replies.push_back({call, std::move(answer)});
}

Effects MachineState::Finish() {
  for (const auto& [uid, job] : touched) {
    job->job().set_reason(Reason(*job));
    effects.records.push_back(job->record);
  }
  touched.clear();
  return std::exchange(effects, Effects());
}

v1::Job MachineState::View(const JobEntry& job) const {
  v1::Job view = job.job();
  view.set_reason(Reason(job));
  view.set_last_sequence(job.last_event);
  return view;
}

}  // namespace evograd
