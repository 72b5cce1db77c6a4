// How generations begin: who must be waited for, who is placed where, and the cut.
#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "server/core/groups.h"
#include "server/core/timestamp.h"

namespace evograd {
namespace {

bool AnyHasState(const std::vector<WorkerEntry*>& held) {
  return std::any_of(held.begin(), held.end(), [](const WorkerEntry* w) { return w->has_state; });
}

bool AllHolding(const std::vector<WorkerEntry*>& members) {
  return std::all_of(members.begin(), members.end(),
                     [](const WorkerEntry* w) { return w->phase == WorkerPhase::kHolding; });
}

// Whether anything durable would be repeated by beginning anew.
bool HasProgress(const JobEntry& job) {
  return job.job().committed_steps() > 0 || !job.checkpoints.empty();
}

int64_t LastCheckpointStep(const JobEntry& job) {
  return job.checkpoints.empty() ? 0 : job.checkpoints.rbegin()->first;
}

bool MayGrow(const JobEntry& job) {
  const Group& group = job.active->group;
  const v1::JobSpec& spec = job.job().spec();
  const bool nearly_done = job.job().committed_steps() + spec.pipeline_depth() >= spec.steps();
  return group.phase == GroupPhase::kRunning && group.progressed && !nearly_done &&
         static_cast<int>(group.ranks.size()) < spec.max_workers();
}

}  // namespace

Groups::Members Groups::MembersByJob() {
  Members members;
  for (auto& [id, worker] : state_.workers.all()) {
    if (worker.assigned()) members[worker.job_uid].push_back(&worker);
  }
  return members;
}

void Groups::WakeAt(int64_t monotonic_ms) {
  // What time alone would have changed has changed.
  if (monotonic_ms <= state_.now.monotonic_ms) return;
  wake_at_ms_ = wake_at_ms_ == 0 ? monotonic_ms : std::min(wake_at_ms_, monotonic_ms);
}

void Groups::Settle() {
  if (wake_at_ms_ != 0 && state_.now.monotonic_ms >= wake_at_ms_) state_.dirty = true;
  // What one look decides (a group that ends, workers that are released) may change the next.
  while (state_.dirty) {
    state_.dirty = false;
    wake_at_ms_ = 0;
    SettleOnce();
  }
}

void Groups::SettleOnce() {
  Members members = MembersByJob();
  ResolveStuckGroups(members);
  std::vector<Demand> demands;
  for (JobEntry* job : state_.jobs.Active()) {
    Group& group = job->active->group;
    const std::vector<WorkerEntry*>& held = members[job->uid()];
    if (group.phase == GroupPhase::kLeaving && AllHolding(held)) group.phase = GroupPhase::kNone;
    if (MayGrow(*job)) demands.push_back(DemandOf(*job, held));
    if (group.phase != GroupPhase::kNone || !AllHolding(held) || MustWait(job, held)) continue;
    if (job->active != nullptr) demands.push_back(DemandOf(*job, held));
  }
  std::vector<FreeWorker> free;
  std::map<v1::DeviceKind, int> connected;
  for (const auto& [id, worker] : state_.workers.all()) {
    ++connected[worker.hello.device_kind()];
    if (worker.phase == WorkerPhase::kFree) free.push_back({id, worker.hello.device_kind()});
  }
  Apply(Place(std::move(demands), free, connected), &members);
}

bool Groups::MustWait(JobEntry* job, const std::vector<WorkerEntry*>& held) {
  Group& group = job->active->group;
  const bool patient = state_.now.monotonic_ms < group.grace_until_ms;
  group.reattaching = group.reattaching && patient && !group.missing.empty();
  if (!group.reattaching && (AnyHasState(held) || group.missing.empty())) return false;
  if (group.reattaching || (patient && HasProgress(*job))) {
    const int64_t count = static_cast<int64_t>(group.missing.size());
    job->active->waiting =
        absl::StrCat("waiting up to ", limits::kReattachGraceMs / 1000, " s for ", count,
                     count == 1 ? " worker" : " workers", " to come back with the job's state");
    WakeAt(group.grace_until_ms);
    return true;
  }
  BeginRestart(job);
  return false;
}

void Groups::BeginRestart(JobEntry* job) {
  Group& group = job->active->group;
  const std::string why = group.disturbance.empty()
                              ? "the coordinator was restarted and none of its workers came back"
                              : group.disturbance;
  group.missing.clear();
  group.disturbed = false;
  v1::Job& proto = job->job();
  proto.clear_workers();
  if (proto.restarts() >= proto.spec().max_restarts()) {
    v1::JobError error;
    error.set_code(static_cast<int>(absl::StatusCode::kUnavailable));
    error.set_message(absl::StrCat("all workers that held the job's state were lost ",
                                   proto.restarts() + 1, " times, and max_restarts is ",
                                   proto.spec().max_restarts(), "; the last time: ", why));
    FailJob(job, std::move(error));
    return;
  }
  proto.set_restarts(proto.restarts() + 1);
  state_.AddEvent(job, [&](v1::Event* event) {
    event->mutable_restarted()->set_from_step(LastCheckpointStep(*job));
    event->mutable_restarted()->set_reason(why);
  });
  state_.Touch(job);
}

Demand Groups::DemandOf(const JobEntry& job, const std::vector<WorkerEntry*>& held) const {
  const v1::JobSpec& spec = job.job().spec();
  Demand demand;
  demand.job_uid = job.uid();
  demand.job_name = job.job().name();
  demand.ordinal = job.record.ordinal;
  demand.min_workers = spec.min_workers();
  demand.max_workers = spec.max_workers();
  demand.held = static_cast<int>(held.size());
  demand.running = job.active->group.phase == GroupPhase::kRunning;
  // Another kind of device would not repeat the committed steps bit by bit.
  if (!held.empty()) {
    demand.kind = held.front()->hello.device_kind();
  } else if (HasProgress(job)) {
    demand.kind = job.record.device_kind;
  }
  return demand;
}

void Groups::Apply(const Placement& placement, Members* members) {
  for (const auto& [uid, added] : placement.starts) {
    Cut(state_.jobs.FindByUid(uid), (*members)[uid], added);
  }
  for (const auto& [uid, reason] : placement.waiting) {
    Wait(state_.jobs.FindByUid(uid), !(*members)[uid].empty(), reason);
  }
  for (const auto& [uid, added] : placement.growths) {
    const int64_t grow_at = state_.last_freed_ms + limits::kGrowthDelayMs;
    if (state_.now.monotonic_ms < grow_at) {
      WakeAt(grow_at);
      continue;
    }
    EndGeneration(state_.jobs.FindByUid(uid),
                  absl::StrCat(added.size(),
                               added.size() == 1 ? " more worker joins" : " more workers join"));
  }
}

void Groups::Wait(JobEntry* job, bool holds_workers, const std::string& reason) {
  ActiveJob& active = *job->active;
  active.waiting = reason;
  if (!holds_workers) active.group.stuck_since_ms = 0;
  if (holds_workers) {
    if (active.group.stuck_since_ms == 0) active.group.stuck_since_ms = state_.now.monotonic_ms;
    WakeAt(active.group.stuck_since_ms + limits::kStuckGroupMs);
  } else if (job->job().state() == v1::RUNNING) {
    state_.SetState(job, v1::PENDING, reason);
  }
}

void Groups::ResolveStuckGroups(const Members& members) {
  // The youngest of those that waited long enough, if an older group of its kind is stuck too.
  JobEntry* victim = nullptr;
  std::map<v1::DeviceKind, int> stuck;
  for (JobEntry* job : state_.jobs.Active()) {
    const auto held = members.find(job->uid());
    const Group& group = job->active->group;
    if (group.stuck_since_ms == 0 || group.phase != GroupPhase::kNone || held == members.end())
      continue;
    const int before = stuck[held->second.front()->hello.device_kind()]++;
    if (before > 0 && state_.now.monotonic_ms >= group.stuck_since_ms + limits::kStuckGroupMs)
      victim = job;
  }
  if (victim == nullptr) return;
  victim->active->group.stuck_since_ms = 0;
  victim->active->group.missing.clear();
  for (WorkerEntry* worker : members.at(victim->uid())) Release(worker, victim->job().name());
  state_.AddEvent(victim, [&](v1::Event* event) {
    event->mutable_restarted()->set_from_step(LastCheckpointStep(*victim));
    event->mutable_restarted()->set_reason(
        "it held workers that an older job waited for, and too few to go on itself");
  });
  victim->job().set_restarts(victim->job().restarts() + 1);
  state_.Touch(victim);
}

void Groups::Cut(JobEntry* job, std::vector<WorkerEntry*> held,
                 const std::vector<WorkerId>& added) {
  std::sort(held.begin(), held.end(), [](const WorkerEntry* a, const WorkerEntry* b) {
    return std::make_tuple(!a->has_state, -a->phases, a->id) <
           std::make_tuple(!b->has_state, -b->phases, b->id);
  });
  const size_t max_workers = static_cast<size_t>(job->job().spec().max_workers());
  for (; held.size() > max_workers; held.pop_back()) Release(held.back(), job->job().name());
  for (const WorkerId& id : added) held.push_back(state_.workers.Find(id));
  for (WorkerEntry* worker : held) {
    worker->phase = WorkerPhase::kMember;
    worker->generation = job->job().generation() + 1;
    worker->job_uid = job->uid();
    worker->job_name = job->job().name();
  }
  Start(job, held);
}

void Groups::Start(JobEntry* job, const std::vector<WorkerEntry*>& ranks) {
  Group& group = job->active->group;
  v1::Job& proto = job->job();
  const bool donor = ranks.front()->has_state;
  const bool from_checkpoint = !donor && !job->checkpoints.empty();
  if (!HasProgress(*job)) job->record.device_kind = ranks.front()->hello.device_kind();
  if (donor && group.disturbed) proto.set_recoveries(proto.recoveries() + 1);
  proto.set_generation(proto.generation() + 1);
  proto.clear_workers();
  for (const WorkerEntry* worker : ranks) proto.add_workers(WorkerName(worker->id));
  if (!proto.has_start_time()) *proto.mutable_start_time() = Timestamp(state_.now.unix_ms);
  const int fruitless = group.fruitless;
  group = Group();
  group.fruitless = fruitless;
  group.phase = GroupPhase::kRunning;
  if (from_checkpoint) group.from_checkpoint = job->checkpoints.rbegin()->second.name();
  for (const WorkerEntry* worker : ranks) group.ranks.push_back(worker->id);
  if (proto.state() != v1::RUNNING) state_.SetState(job, v1::RUNNING, "workers were found");

  const int64_t step = donor ? ranks.front()->phases / 2 : LastCheckpointStep(*job);
  state_.AddEvent(job, [&](v1::Event* event) {
    event->mutable_generation_started()->set_generation(proto.generation());
    *event->mutable_generation_started()->mutable_workers() = proto.workers();
    event->mutable_generation_started()->set_step(step);
  });
  state_.Touch(job);
  v1::StartGeneration start;
  start.set_job(proto.name());
  start.set_job_uid(job->uid());
  start.set_generation(proto.generation());
  *start.mutable_spec() = proto.spec();
  start.set_size(static_cast<int>(ranks.size()));
  start.set_several_hosts(std::any_of(ranks.begin(), ranks.end(), [&](const WorkerEntry* worker) {
    return worker->hello.network().empty() ||
           worker->hello.network() != ranks.front()->hello.network();
  }));
  start.set_donor_holds_state(donor);
  start.set_checkpoint(group.from_checkpoint);
  start.set_committed_steps(proto.committed_steps());
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    start.set_rank(static_cast<int>(rank));
    v1::CoordinatorMessage message;
    *message.mutable_start_generation() = start;
    state_.SendTo(*ranks[rank], std::move(message));
  }
}

}  // namespace evograd
