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

bool MayGrow(const JobEntry& job) {
  const Group& group = job.active->group;
  const v1::JobSpec& spec = job.job().spec();
  const bool nearly_done = job.job().committed_steps() + spec.pipeline_depth() >= spec.steps();
  return group.phase == GroupPhase::kRunning && group.progressed && !nearly_done &&
         static_cast<int>(group.ranks.size()) < spec.max_workers();
}

// Whether the two reach each other by loopback.
bool OneHost(const v1::Hello& a, const v1::Hello& b) {
  return a.network() == b.network() && (!a.network().empty() || a.host() == b.host());
}

}  // namespace

bool HasProgress(const JobEntry& job) {
  return job.job().committed_steps() > 0 || !job.checkpoints.empty();
}

int64_t LastCheckpointStep(const JobEntry& job) {
  return job.checkpoints.empty() ? 0 : job.checkpoints.rbegin()->first;
}

Groups::Members Groups::MembersByJob() {
  Members members;
  for (auto& [id, worker] : state_.workers.all()) {
    if (!worker.assigned()) continue;
    Held& held = members[worker.job_uid];
    (worker.phase == WorkerPhase::kPreparing  ? held.preparing
     : worker.phase == WorkerPhase::kPrepared ? held.prepared
                                              : held.members)
        .push_back(&worker);
  }
  return members;
}

Make Groups::MakeOf(const WorkerEntry& worker) const {
  return {worker.hello.device_kind(), worker.hello.numerics()};
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
  std::vector<Demand> engaged;
  for (JobEntry* job : state_.jobs.Engaged()) {
    Group& group = job->active->group;
    const Held& held = members[job->uid()];
    if (group.phase == GroupPhase::kLeaving && AllHolding(held.members)) {
      group.phase = GroupPhase::kNone;
      // Another look, without who was set aside.
      if (BlameForUnreachable(job)) continue;
    }
    if (group.phase == GroupPhase::kRunning) {
      AdmitPrepared(job, held);
      if (MayGrow(*job)) engaged.push_back(DemandOf(*job, held));
      continue;
    }
    const bool ready = group.phase == GroupPhase::kNone && AllHolding(held.members);
    if (!ready || MustWait(job, held) || job->active == nullptr || MustRest(job)) continue;
    if (held.empty() && held.preparing.empty()) {
      if (job->job().state() == v1::RUNNING) {
        state_.SetState(job, v1::PENDING, "all its workers are gone");
      }
      state_.jobs.SetIdle(job, true);
    } else {
      engaged.push_back(DemandOf(*job, held));
    }
  }
  Apply(PlaceAll(std::move(engaged)), &members);
}

Placement Groups::PlaceAll(std::vector<Demand> engaged) {
  for (const std::string& uid : looked_at_) {
    JobEntry* job = state_.jobs.FindByUid(uid);
    if (job->active != nullptr && job->active->group.phase == GroupPhase::kNone) {
      job->active->waiting.clear();
    }
  }
  looked_at_.clear();
  std::vector<PlacedWorker> workers;
  const int64_t now = state_.now.monotonic_ms;
  for (const auto& [id, worker] : state_.workers.all()) {
    const bool free = worker.phase == WorkerPhase::kFree && !state_.set_aside.Covers(id, "", now);
    workers.push_back({id, MakeOf(worker), free});
  }
  if (const int64_t next = state_.set_aside.NextEnd(now); next != 0) WakeAt(next);
  auto next = state_.jobs.idle().begin();
  // There may be thousands of them behind one free worker.
  const auto pass_over = [&](JobEntry* job) {
    if (static_cast<size_t>(job->job().spec().min_workers()) <= workers.size()) return false;
    // What it waited for before.
    job->active->waiting.clear();
    return true;
  };
  return Place(
      std::move(engaged),
      [&]() -> absl::optional<Demand> {
        while (next != state_.jobs.idle().end() && pass_over(next->second)) ++next;
        if (next == state_.jobs.idle().end()) return absl::nullopt;
        const JobEntry& job = *(next++)->second;
        looked_at_.push_back(job.uid());
        return DemandOf(job, Held());
      },
      workers);
}

bool Groups::MustRest(JobEntry* job) {
  const ActiveJob& active = *job->active;
  const int64_t rest_ms = active.trials.retry_at_ms - state_.now.monotonic_ms;
  if (rest_ms <= 0) return false;
  job->active->waiting = absl::StrCat(
      "trying again in ", (rest_ms + 999) / 1000, " s, after ", active.trials.fruitless,
      " groups that did not get anywhere: ", active.group.disturbance);
  WakeAt(active.trials.retry_at_ms);
  return true;
}

bool Groups::HolderMayReturn(const Group& group) const {
  // Who is connected has said what it holds, and while it is its id is nobody else's: the process
  // that held the job's state is gone for good, as one that was killed and started again.
  return std::any_of(group.missing.begin(), group.missing.end(),
                     [&](const WorkerId& id) { return state_.workers.Find(id) == nullptr; });
}

bool Groups::MustWait(JobEntry* job, const Held& held) {
  Group& group = job->active->group;
  const bool patient = state_.now.monotonic_ms < group.grace_until_ms && HolderMayReturn(group);
  // Its members dropped what they had computed.
  if (group.progressed && group.missing.empty() && !group.distrusted && !held.members.empty() &&
      !AnyHasState(held.members)) {
    group.progressed = false;
    GiveUpState(job);
    return false;
  }
  group.reattaching = group.reattaching && patient && !group.missing.empty();
  if (!group.reattaching && (AnyHasState(held.members) || group.missing.empty())) return false;
  if (group.reattaching || (patient && HasProgress(*job))) {
    const int64_t count = static_cast<int64_t>(group.missing.size());
    job->active->waiting =
        absl::StrCat("waiting up to ", limits::kReattachGraceMs / 1000, " s for ", count,
                     count == 1 ? " worker" : " workers", " to come back with the job's state");
    WakeAt(group.grace_until_ms);
    return true;
  }
  GiveUpState(job);
  return false;
}

void Groups::AdmitPrepared(JobEntry* job, const Held& held) {
  if (held.prepared.empty() || !MayGrow(*job)) return;
  int64_t since = held.prepared.front()->since_ms;
  for (const WorkerEntry* worker : held.prepared) since = std::min(since, worker->since_ms);
  const int64_t patient_until = since + limits::kPreparedPatienceMs;
  if (!held.preparing.empty() && state_.now.monotonic_ms < patient_until) {
    return WakeAt(patient_until);
  }
  const size_t count = held.prepared.size();
  EndGeneration(job, absl::StrCat(count, count == 1 ? " more worker joins" : " more workers join"));
}

void Groups::GiveUpState(JobEntry* job) {
  Group& group = job->active->group;
  group.state_lost = group.disturbance.empty()
                         ? "the coordinator was restarted and none of its workers came back"
                         : group.disturbance;
  group.missing.clear();
  v1::Job& proto = job->job();
  proto.clear_workers();
  state_.Touch(job);
  // Nothing is repeated, so nothing was lost.
  if (!HasProgress(*job)) return;
  const Trials& trials = job->active->trials;
  if (trials.restarts < proto.spec().max_restarts()) return;
  v1::JobError error;
  error.set_code(static_cast<int>(absl::StatusCode::kUnavailable));
  error.set_message(
      absl::StrCat("the state that the job's workers held was lost ", trials.restarts + 1,
                   " times without a new step in between, and max_restarts is ",
                   proto.spec().max_restarts(), "; the last time: ", group.state_lost));
  FailJob(job, std::move(error));
}

void Groups::Restarted(JobEntry* job, const std::string& reason) {
  job->job().set_restarts(job->job().restarts() + 1);
  state_.AddEvent(job, [&](v1::Event* event) {
    event->mutable_restarted()->set_from_step(LastCheckpointStep(*job));
    event->mutable_restarted()->set_reason(reason);
  });
  state_.Touch(job);
}

Demand Groups::DemandOf(const JobEntry& job, const Held& held) const {
  const v1::JobSpec& spec = job.job().spec();
  Demand demand;
  demand.job_uid = job.uid();
  demand.job_name = job.job().name();
  demand.ordinal = job.record.ordinal;
  demand.min_workers = spec.min_workers();
  demand.max_workers = spec.max_workers();
  demand.running = job.active->group.phase == GroupPhase::kRunning;
  // Those that still read are on their way into a group that computes; others do not wait for them.
  demand.held = static_cast<int>(held.ready() + (demand.running ? held.preparing.size() : 0));
  // Another make would not repeat the committed steps bit by bit.
  for (const auto* workers : {&held.preparing, &held.prepared, &held.members}) {
    if (!workers->empty()) demand.make = MakeOf(*workers->front());
  }
  if (demand.make.any() && HasProgress(job)) {
    demand.make = {job.record.device_kind, job.job().numerics()};
  }
  if (state_.set_aside.empty()) return demand;
  for (const auto& [id, worker] : state_.workers.all()) {
    if (state_.set_aside.Covers(id, job.uid(), state_.now.monotonic_ms)) demand.avoided.insert(id);
  }
  return demand;
}

void Groups::Apply(const Placement& placement, Members* members) {
  for (const auto& [uid, added] : placement.starts) {
    Cut(state_.jobs.FindByUid(uid), (*members)[uid], added);
  }
  for (const auto& [uid, reason] : placement.waiting) {
    Wait(state_.jobs.FindByUid(uid), (*members)[uid], reason);
  }
  for (const auto& [uid, added] : placement.growths) {
    const int64_t grow_at = state_.last_freed_ms + limits::kGrowthDelayMs;
    if (state_.now.monotonic_ms < grow_at) {
      WakeAt(grow_at);
      continue;
    }
    Prepare(state_.jobs.FindByUid(uid), added);
  }
}

void Groups::Prepare(JobEntry* job, const std::vector<WorkerId>& added) {
  v1::CoordinatorMessage message;
  *message.mutable_prepare_job()->mutable_start() = StartMessage(*job);
  for (const WorkerId& id : added) {
    WorkerEntry* worker = state_.workers.Find(id);
    Enter(worker, WorkerPhase::kPreparing);
    worker->job_uid = job->uid();
    worker->job_name = job->job().name();
    worker->doing.Clear();
    state_.SendTo(*worker, message);
  }
}

void Groups::Wait(JobEntry* job, const Held& held, const std::string& reason) {
  ActiveJob& active = *job->active;
  const bool holds_workers = !held.empty();
  active.waiting = reason;
  if (!held.preparing.empty()) {
    absl::StrAppend(&active.waiting, "; ", held.preparing.front()->id.value(),
                    " still reads the job's data");
  }
  if (!state_.set_aside.empty()) {
    for (const auto& [id, worker] : state_.workers.all()) {
      if (!state_.set_aside.Covers(id, job->uid(), state_.now.monotonic_ms)) continue;
      absl::StrAppend(&active.waiting, "; ", id.value(), " is ",
                      state_.set_aside.Reason(id, state_.now.monotonic_ms));
      break;
    }
  }
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
  std::map<Make, int> stuck;
  for (JobEntry* job : state_.jobs.Engaged()) {
    const auto held = members.find(job->uid());
    const Group& group = job->active->group;
    if (group.stuck_since_ms == 0 || group.phase != GroupPhase::kNone || held == members.end() ||
        held->second.empty()) {
      continue;
    }
    const std::vector<WorkerEntry*>& any =
        held->second.members.empty() ? held->second.prepared : held->second.members;
    const int before = stuck[MakeOf(*any.front())]++;
    if (before > 0 && state_.now.monotonic_ms >= group.stuck_since_ms + limits::kStuckGroupMs)
      victim = job;
  }
  if (victim == nullptr) return;
  victim->active->group.stuck_since_ms = 0;
  victim->active->group.missing.clear();
  victim->active->group.state_lost.clear();
  for (WorkerEntry* worker : state_.workers.AssignedTo(victim->uid())) {
    Release(worker, victim->job().name());
  }
  Restarted(victim, "it held workers that an older job waited for, and too few to go on itself");
}

void Groups::Cut(JobEntry* job, const Held& held, const std::vector<WorkerId>& added) {
  const size_t max_workers = static_cast<size_t>(job->job().spec().max_workers());
  std::vector<WorkerEntry*> ranks = held.members;
  std::sort(ranks.begin(), ranks.end(), [](const WorkerEntry* a, const WorkerEntry* b) {
    return std::make_tuple(!a->has_state, -a->phases, a->id) <
           std::make_tuple(!b->has_state, -b->phases, b->id);
  });
  for (; ranks.size() > max_workers; ranks.pop_back()) Release(ranks.back(), job->job().name());
  for (WorkerEntry* worker : held.prepared) {
    if (ranks.size() < max_workers) ranks.push_back(worker);
  }
  for (const WorkerId& id : added) {
    if (ranks.size() < max_workers) ranks.push_back(state_.workers.Find(id));
  }
  // Newcomers for whom there is no room any more are free for others.
  for (WorkerEntry* worker : state_.workers.AssignedTo(job->uid())) {
    const bool taken = std::find(ranks.begin(), ranks.end(), worker) != ranks.end();
    if (worker->newcomer() && !taken && ranks.size() >= max_workers) {
      Release(worker, job->job().name());
    }
  }
  for (WorkerEntry* worker : ranks) {
    Enter(worker, WorkerPhase::kMember);
    worker->generation = job->job().generation() + 1;
    worker->job_uid = job->uid();
    worker->job_name = job->job().name();
    worker->doing.Clear();
  }
  Start(job, ranks);
}

v1::StartGeneration Groups::StartMessage(const JobEntry& job) const {
  const v1::Job& proto = job.job();
  v1::StartGeneration start;
  start.set_job(proto.name());
  start.set_job_uid(job.uid());
  start.set_generation(proto.generation());
  *start.mutable_spec() = proto.spec();
  start.set_committed_steps(proto.committed_steps());
  return start;
}

void Groups::Start(JobEntry* job, const std::vector<WorkerEntry*>& ranks) {
  Group& group = job->active->group;
  v1::Job& proto = job->job();
  const bool donor = ranks.front()->has_state;
  const bool from_checkpoint = !donor && !job->checkpoints.empty();
  if (!HasProgress(*job) || proto.numerics().empty()) {
    job->record.device_kind = ranks.front()->hello.device_kind();
    proto.set_numerics(ranks.front()->hello.numerics());
  }
  if (donor && group.disturbed) proto.set_recoveries(proto.recoveries() + 1);
  if (!donor && !group.state_lost.empty() && HasProgress(*job)) {
    ++job->active->trials.restarts;
    Restarted(job, group.state_lost);
  }
  proto.set_generation(proto.generation() + 1);
  proto.clear_workers();
  for (const WorkerEntry* worker : ranks) proto.add_workers(WorkerName(worker->id));
  if (!proto.has_start_time()) *proto.mutable_start_time() = Timestamp(state_.now.unix_ms);
  group = Group();
  group.phase = GroupPhase::kRunning;
  if (from_checkpoint) group.from_checkpoint = job->checkpoints.rbegin()->second.name();
  for (const WorkerEntry* worker : ranks) group.ranks.push_back(worker->id);
  const int64_t step = donor ? ranks.front()->phases / 2 : LastCheckpointStep(*job);
  // Between the two updates of a step its result may be there already.
  group.first_step = donor ? (ranks.front()->phases + 1) / 2 : step;
  job->active->waiting.clear();
  // The new group tells its own.
  job->active->trouble.clear();
  job->active->last_step_ms = state_.now.monotonic_ms;
  state_.jobs.SetIdle(job, false);
  if (proto.state() != v1::RUNNING) state_.SetState(job, v1::RUNNING, "workers were found");

  state_.AddEvent(job, [&](v1::Event* event) {
    event->mutable_generation_started()->set_generation(proto.generation());
    *event->mutable_generation_started()->mutable_workers() = proto.workers();
    event->mutable_generation_started()->set_step(step);
  });
  state_.Touch(job);
  v1::StartGeneration start = StartMessage(*job);
  start.set_size(static_cast<int>(ranks.size()));
  start.set_donor_holds_state(donor);
  start.set_checkpoint(group.from_checkpoint);
  start.set_several_hosts(std::any_of(ranks.begin(), ranks.end(), [&](const WorkerEntry* worker) {
    return !OneHost(worker->hello, ranks.front()->hello);
  }));
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    start.set_rank(static_cast<int>(rank));
    v1::CoordinatorMessage message;
    *message.mutable_start_generation() = start;
    state_.SendTo(*ranks[rank], std::move(message));
  }
}

}  // namespace evograd
