#include "server/core/machine_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/core/job_state.h"
#include "server/core/timestamp.h"

namespace evograd {
namespace {

std::string Reason(const JobEntry& job) {
  if (job.active == nullptr) return job.job().reason();
  const Group& group = job.active->group;
  const int64_t size = static_cast<int64_t>(group.ranks.size());
  switch (group.phase) {
    case GroupPhase::kRunning:
      return absl::StrCat("computing on ", size, size == 1 ? " worker" : " workers");
    case GroupPhase::kLeaving:
      return absl::StrCat("forming a new group: waiting for the workers of generation ",
                          job.job().generation(), " to leave it");
    case GroupPhase::kNone:
      break;
  }
  return job.active->waiting.empty() ? "waiting for workers" : job.active->waiting;
}

}  // namespace

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

v1::Job View(const JobEntry& job) {
  v1::Job view = job.job();
  view.set_reason(Reason(job));
  return view;
}

}  // namespace evograd
