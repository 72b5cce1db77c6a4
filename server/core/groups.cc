// How generations and jobs end; how they begin is in groups_settle.cc.
#include "server/core/groups.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {

void Groups::EndGeneration(JobEntry* job, const std::string& reason) {
  Group& group = job->active->group;
  if (group.phase != GroupPhase::kRunning) return;
  group.phase = GroupPhase::kLeaving;
  group.fruitless = group.progressed ? 0 : group.fruitless + 1;
  const int64_t generation = job->job().generation();
  for (WorkerEntry* worker : state_.workers.AssignedTo(job->uid())) {
    if (worker->phase != WorkerPhase::kMember) continue;
    worker->phase = WorkerPhase::kLeaving;
    worker->deadline_ms = state_.now.monotonic_ms + limits::kLeaveTimeoutMs;
    v1::CoordinatorMessage message;
    message.mutable_end_generation()->set_job(job->job().name());
    message.mutable_end_generation()->set_generation(generation);
    message.mutable_end_generation()->set_reason(reason);
    state_.SendTo(*worker, std::move(message));
  }
  state_.AddEvent(job, [&](v1::Event* event) {
    event->mutable_generation_ended()->set_generation(generation);
    event->mutable_generation_ended()->set_reason(reason);
  });
  state_.Touch(job);
  state_.dirty = true;
  if (group.fruitless < limits::kMaxFruitlessGenerations) return;
  v1::JobError error;
  error.set_code(static_cast<int>(absl::StatusCode::kUnavailable));
  error.set_message(
      absl::StrCat(group.fruitless,
                   " worker groups in a row ended without one committed step; the last: ", reason));
  FailJob(job, std::move(error));
}

void Groups::WorkerLost(WorkerEntry* worker, const std::string& reason) {
  const WorkerId id = worker->id;
  const WorkerPhase phase = worker->phase;
  JobEntry* job = worker->assigned() ? state_.jobs.FindByUid(worker->job_uid) : nullptr;
  state_.workers.Remove(id);
  state_.dirty = true;
  if (job == nullptr) return;
  Group& group = job->active->group;
  group.missing.insert(id);
  group.grace_until_ms =
      std::max(group.grace_until_ms, state_.now.monotonic_ms + limits::kReattachGraceMs);
  group.disturbed = true;
  group.disturbance = absl::StrCat("worker ", id.value(), " was lost: ", reason);
  if (phase == WorkerPhase::kMember) EndGeneration(job, std::string(group.disturbance));
}

void Groups::WorkerLeft(WorkerEntry* worker, bool has_state, int64_t phases,
                        const std::string& reason) {
  JobEntry* job = state_.jobs.FindByUid(worker->job_uid);
  const bool unasked = worker->phase == WorkerPhase::kMember;
  worker->phase = WorkerPhase::kHolding;
  worker->has_state = has_state;
  worker->phases = has_state ? phases : 0;
  state_.dirty = true;
  if (!unasked) return;
  Group& group = job->active->group;
  group.disturbed = true;
  group.disturbance = absl::StrCat("worker ", worker->id.value(),
                                   " left: ", reason.empty() ? "it gave no reason" : reason);
  EndGeneration(job, std::string(group.disturbance));
}

void Groups::Reattach(JobEntry* job, WorkerEntry* worker, int64_t generation) {
  worker->phase = WorkerPhase::kLeaving;
  worker->generation = generation;
  worker->job_uid = job->uid();
  worker->job_name = job->job().name();
  worker->deadline_ms = state_.now.monotonic_ms + limits::kLeaveTimeoutMs;
  job->active->group.missing.erase(worker->id);
  v1::CoordinatorMessage message;
  message.mutable_end_generation()->set_job(job->job().name());
  message.mutable_end_generation()->set_generation(generation);
  message.mutable_end_generation()->set_reason("its stream to the coordinator was cut");
  state_.SendTo(*worker, std::move(message));
  state_.dirty = true;
}

void Groups::Release(WorkerEntry* worker, const std::string& job_name) {
  worker->phase = WorkerPhase::kReleasing;
  worker->job_uid.clear();
  worker->job_name = job_name;
  worker->deadline_ms = state_.now.monotonic_ms + limits::kLeaveTimeoutMs;
  v1::CoordinatorMessage message;
  message.mutable_release_job()->set_job(job_name);
  state_.SendTo(*worker, std::move(message));
  state_.dirty = true;
}

void Groups::WorkerReleased(WorkerEntry* worker) {
  worker->phase = WorkerPhase::kFree;
  worker->job_name.clear();
  worker->has_state = false;
  worker->phases = 0;
  state_.last_freed_ms = state_.now.monotonic_ms;
  state_.dirty = true;
}

void Groups::FailJob(JobEntry* job, v1::JobError error) {
  const std::string reason = absl::StrCat("failed: ", error.message());
  *job->job().mutable_error() = std::move(error);
  EndJob(job, v1::FAILED, reason);
}

void Groups::EndJob(JobEntry* job, v1::JobState state, const std::string& reason) {
  EVOGRAD_CHECK(job->active != nullptr, "a job ends once");
  if (job->active->group.phase == GroupPhase::kRunning) {
    state_.AddEvent(job, [&](v1::Event* event) {
      event->mutable_generation_ended()->set_generation(job->job().generation());
      event->mutable_generation_ended()->set_reason("the job ended");
    });
  }
  for (WorkerEntry* worker : state_.workers.AssignedTo(job->uid()))
    Release(worker, job->job().name());
  job->active.reset();
  state_.jobs.Ended(*job);
  state_.SetState(job, state, reason);
  state_.dirty = true;
}

void Groups::CheckDeadlines() {
  const int64_t now = state_.now.monotonic_ms;
  std::vector<std::pair<WorkerId, std::string>> lost;
  for (const auto& [id, worker] : state_.workers.all()) {
    const bool asked =
        worker.phase == WorkerPhase::kLeaving || worker.phase == WorkerPhase::kReleasing;
    if (now - worker.last_heard_ms >= limits::kHeartbeatTimeoutMs) {
      lost.emplace_back(
          id, absl::StrCat("no heartbeat for ", (now - worker.last_heard_ms) / 1000, " s"));
    } else if (asked && now >= worker.deadline_ms) {
      lost.emplace_back(
          id, absl::StrCat(
                  "it did not ",
                  worker.phase == WorkerPhase::kLeaving ? "leave its generation" : "drop its job",
                  " within ", limits::kLeaveTimeoutMs / 1000, " s"));
    }
  }
  for (const auto& [id, reason] : lost) {
    WorkerEntry* worker = state_.workers.Find(id);
    state_.effects.closes.push_back(
        {worker->connection,
         MakeError(absl::StatusCode::kUnavailable,
                   absl::StrCat("worker ", id.value(), " counts as lost: ", reason), "WORKER_LOST",
                   {{"worker", id.value()}})});
    WorkerLost(worker, reason);
  }
}

}  // namespace evograd
