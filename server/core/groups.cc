// How generations and jobs end; how they begin is in groups_settle.cc.
#include "server/core/groups.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/core/kept_checkpoints.h"
#include "spec/error.h"

namespace evograd {

void Groups::EndGeneration(JobEntry* job, const std::string& reason) {
  Group& group = job->active->group;
  if (group.phase != GroupPhase::kRunning) return;
  group.phase = GroupPhase::kLeaving;
  group.disturbance = reason;
  Trials& trials = job->active->trials;
  // The next checkpoint is another beginning, not the same once more.
  const bool same_again = !group.progressed && !group.checkpoint_damaged;
  if (same_again) ++trials.fruitless;
  if (group.progressed) trials.fruitless = 0;
  // The first repetition comes at once.
  if (same_again && trials.fruitless > 1) {
    trials.retry_at_ms =
        state_.now.monotonic_ms +
        std::min<int64_t>(int64_t{limits::kRetryMinMs} << std::min(trials.fruitless - 2, 16),
                          limits::kRetryMaxMs);
  }
  const int64_t generation = job->job().generation();
  for (WorkerEntry* worker : state_.workers.AssignedTo(job->uid())) {
    if (worker->phase != WorkerPhase::kMember) continue;
    Enter(worker, WorkerPhase::kLeaving);
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
  if (trials.fruitless < limits::kMaxFruitlessGenerations) return;
  v1::JobError error;
  error.set_code(static_cast<int>(absl::StatusCode::kUnavailable));
  error.set_message(
      absl::StrCat(trials.fruitless,
                   " worker groups in a row ended without one committed step; the last: ", reason));
  FailJob(job, std::move(error));
}

void Groups::WorkerLost(WorkerEntry* worker, const std::string& reason) {
  const WorkerEntry lost = *worker;
  const WorkerId& id = lost.id;
  JobEntry* job = lost.assigned() ? state_.jobs.FindByUid(lost.job_uid) : nullptr;
  state_.workers.Remove(id);
  state_.dirty = true;
  if (job == nullptr) return;
  if (lost.phase == WorkerPhase::kPreparing) BlameForLoss(lost, job, reason);
  if (lost.newcomer()) return;
  Group& group = job->active->group;
  group.missing.insert(id);
  group.grace_until_ms =
      std::max(group.grace_until_ms, state_.now.monotonic_ms + limits::kReattachGraceMs);
  group.disturbed = true;
  const std::string what = absl::StrCat("worker ", id.value(), " was lost: ", reason);
  group.disturbance = what;
  const bool in_generation =
      group.phase != GroupPhase::kNone && lost.generation == job->job().generation() &&
      (lost.phase == WorkerPhase::kMember || lost.phase == WorkerPhase::kLeaving);
  if (lost.phase == WorkerPhase::kMember) EndGeneration(job, what);
  if (job->active == nullptr || !in_generation || group.progressed || group.loss_counted) return;
  group.loss_counted = true;
  BlameForLoss(lost, job, reason);
}

void Groups::WorkerLeft(WorkerEntry* worker, const v1::GenerationLeft& left) {
  JobEntry* job = state_.jobs.FindByUid(worker->job_uid);
  Group& group = job->active->group;
  const bool unasked = worker->phase == WorkerPhase::kMember;
  const v1::HeldState& held = left.held();
  // The newest truth wins: what is older than a stored checkpoint is not gone on with.
  const bool stale = held.has_state() && held.phases() < 2 * LastCheckpointStep(*job);
  if (stale) {
    state_.AddNotice(job, worker->id,
                     absl::StrCat("what ", worker->id.value(), " holds, step ", held.phases() / 2,
                                  ", is older than the checkpoint of step ",
                                  LastCheckpointStep(*job), " and is not gone on with"));
  }
  const absl::optional<int64_t> beyond =
      held.has_state() ? BeyondUnstored(*job, held.phases()) : absl::nullopt;
  if (beyond.has_value()) {
    state_.AddNotice(job, worker->id,
                     absl::StrCat("what ", worker->id.value(), " holds, step ", held.phases() / 2,
                                  ", is not gone on with: the checkpoint of step ", *beyond,
                                  ", which is to be kept, is not stored"));
  }
  Enter(worker, WorkerPhase::kHolding);
  worker->has_state = held.has_state() && !stale && !beyond.has_value() && !group.distrusted;
  worker->phases = worker->has_state ? held.phases() : 0;
  for (const int rank : left.suspect_ranks()) {
    if (rank < 0 || rank >= static_cast<int>(group.ranks.size())) continue;
    const WorkerId& suspect = group.ranks[static_cast<size_t>(rank)];
    group.estranged[suspect].insert(worker->id);
    group.estranged[worker->id].insert(suspect);
    group.unreachable = true;
  }
  const bool own_reason = !left.reason().empty() && left.suspect_ranks_size() == 0;
  if (own_reason) group.excused.insert(worker->id);
  if (!unasked) return;
  group.disturbed = true;
  EndGeneration(job, absl::StrCat("worker ", worker->id.value(), " left: ",
                                  left.reason().empty() ? "it gave no reason" : left.reason()));
  if (job->active == nullptr || !own_reason || worker->has_state) return;
  // It keeps the others from getting anywhere, and takes nothing with it.
  if (job->active->trials.fruitless < limits::kFruitlessBeforeBlame || !MayLeaveOut(*job)) return;
  PutAside(*worker, job, /*any_job=*/false, left.reason());
  Release(worker, job->job().name());
  job->active->trials.retry_at_ms = 0;
}

bool Groups::LeftOut(const JobEntry& job, const WorkerEntry& worker) const {
  int others = 0;
  for (const WorkerEntry* other : state_.workers.AssignedTo(job.uid())) {
    if (other->id != worker.id && !other->newcomer()) ++others;
  }
  const bool losses_count = job.active->trials.fruitless >= limits::kFruitlessBeforeBlame &&
                            others >= job.job().spec().min_workers();
  const int64_t now = state_.now.monotonic_ms;
  return losses_count ? state_.set_aside.Covers(worker.id, job.uid(), now)
                      : state_.set_aside.CoversReturned(worker.id, job.uid(), now);
}

void Groups::Reattach(JobEntry* job, WorkerEntry* worker, int64_t generation) {
  Enter(worker, WorkerPhase::kLeaving);
  worker->generation = generation;
  worker->job_uid = job->uid();
  worker->job_name = job->job().name();
  job->active->group.missing.erase(worker->id);
  state_.set_aside.CameBack(worker->id, job->uid(), state_.now.monotonic_ms);
  state_.jobs.SetIdle(job, false);
  v1::CoordinatorMessage message;
  message.mutable_end_generation()->set_job(job->job().name());
  message.mutable_end_generation()->set_generation(generation);
  message.mutable_end_generation()->set_reason("its stream to the coordinator was cut");
  state_.SendTo(*worker, std::move(message));
  state_.dirty = true;
}

void Groups::Release(WorkerEntry* worker, const std::string& job_name) {
  Enter(worker, WorkerPhase::kReleasing);
  worker->job_uid.clear();
  worker->job_name = job_name;
  v1::CoordinatorMessage message;
  message.mutable_release_job()->set_job(job_name);
  state_.SendTo(*worker, std::move(message));
  state_.dirty = true;
}

void Groups::WorkerReleased(WorkerEntry* worker) {
  Enter(worker, WorkerPhase::kFree);
  worker->job_name.clear();
  worker->has_state = false;
  worker->phases = 0;
  state_.last_freed_ms = state_.now.monotonic_ms;
}

void Groups::FailJob(JobEntry* job, v1::JobError error) {
  const absl::StatusCode code = static_cast<absl::StatusCode>(error.code());
  if (error.message().empty()) error.set_message(absl::StatusCodeToString(code));
  // A copy: the state says that it failed.
  const std::string reason = error.message();
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
  state_.set_aside.ForgetJob(job->uid());
  state_.SetState(job, state, reason);
  state_.dirty = true;
}

std::string Groups::Silence(const WorkerEntry& worker) const {
  const int64_t now = state_.now.monotonic_ms;
  if (now - worker.last_heard_ms >= limits::kHeartbeatTimeoutMs) {
    return absl::StrCat("no heartbeat for ", (now - worker.last_heard_ms) / 1000, " s");
  }
  if (worker.phase == WorkerPhase::kLeaving && now >= worker.since_ms + limits::kLeaveTimeoutMs) {
    return absl::StrCat("it did not leave its generation within ", limits::kLeaveTimeoutMs / 1000,
                        " s");
  }
  return "";
}

void Groups::CheckDeadlines() {
  std::vector<std::pair<WorkerId, std::string>> lost;
  for (const auto& [id, worker] : state_.workers.all()) {
    std::string reason = Silence(worker);
    if (!reason.empty()) lost.emplace_back(id, std::move(reason));
  }
  for (const auto& [id, reason] : lost) {
    WorkerEntry* worker = state_.workers.Find(id);
    // An engine that stands still would hold up whoever waits for it again.
    if (worker->phase == WorkerPhase::kLeaving && worker->doing.still_seconds() >= 10) {
      PutAside(*worker, state_.jobs.FindByUid(worker->job_uid), /*any_job=*/true, reason);
    }
    state_.effects.closes.push_back(
        {worker->connection,
         MakeError(absl::StatusCode::kUnavailable,
                   absl::StrCat("worker ", id.value(), " counts as lost: ", reason), "WORKER_LOST",
                   {{"worker", id.value()}})});
    WorkerLost(worker, reason);
  }
  WatchProgress();
}

}  // namespace evograd
