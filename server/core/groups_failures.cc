// What failed, whose fault it is, and what becomes of it: see Groups.
#include <algorithm>
#include <deque>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/service_limits.h"
#include "server/core/groups.h"

namespace evograd {
namespace {

// For how long nothing need move, in seconds.
double Patience(const JobEntry& job) {
  const double patience = job.job().spec().collective_timeout_seconds();
  // Before its first result a group reads data, from disks that may be slow.
  return job.active->group.progressed ? patience
                                      : std::max(patience, limits::kPrepareStillMs / 1000.0);
}

// Whether the engine does "step N" and no evaluation belongs to it, which may take any time.
bool IsPlainStep(const JobEntry& job, absl::string_view doing) {
  int64_t step = 0;
  if (!absl::ConsumePrefix(&doing, "step ") || !absl::SimpleAtoi(doing, &step)) return false;
  const int64_t interval = job.job().spec().evaluation_interval_steps();
  return interval <= 0 || (step % interval != 0 && (step + 1) % interval != 0);
}

}  // namespace

void Groups::PutAside(const WorkerEntry& worker, JobEntry* job, bool any_job,
                      const std::string& reason) {
  state_.set_aside.Add({worker.id, worker.hello.process_nonce()},
                       any_job ? SetAside::Job() : SetAside::Job{job->uid(), job->job().name()},
                       reason, state_.now.monotonic_ms);
  state_.AddNotice(job, worker.id,
                   absl::StrCat(worker.id.value(), " is ",
                                state_.set_aside.Reason(worker.id, state_.now.monotonic_ms)));
  state_.dirty = true;
}

void Groups::Distrust(JobEntry* job) {
  job->active->group.distrusted = true;
  // Of those too that have left already.
  for (WorkerEntry* worker : state_.workers.AssignedTo(job->uid())) worker->has_state = false;
}

void Groups::WorkerFailed(WorkerEntry* worker, JobEntry* job, v1::FailureScope scope,
                          v1::JobError error) {
  const bool newcomer = worker->newcomer();
  const bool any_job = scope == v1::ANY_JOB_HERE;
  PutAside(*worker, job, any_job, error.message());
  // Those that compute never hear of it.
  if (newcomer) return Release(worker, job->job().name());
  Trials& trials = job->active->trials;
  Group& group = job->active->group;
  // What came of wrong bits is not gone on with.
  if (scope == v1::STATE_IN_DOUBT) Distrust(job);
  if (!any_job) trials.failures.push_back({worker->id, job->job().generation()});
  if (!any_job && IsTheJobsFault(*job, *worker)) {
    std::set<WorkerId> said;
    for (const WorkerFailure& failure : trials.failures) said.insert(failure.worker);
    if (said.size() > 1) {
      error.set_message(
          absl::StrCat(error.message(), " (", said.size(), " workers failed at the job)"));
    }
    return FailJob(job, std::move(error));
  }
  group.disturbed = true;
  EndGeneration(job,
                absl::StrCat("worker ", worker->id.value(), " is set aside: ", error.message()));
  if (job->active == nullptr) return;
  // Another set of workers need not wait.
  job->active->trials.retry_at_ms = 0;
  Release(worker, job->job().name());
}

void Groups::BlameForLoss(const WorkerEntry& worker, JobEntry* job, const std::string& reason) {
  const SetAside::Job of{job->uid(), job->job().name()};
  const int64_t now = state_.now.monotonic_ms;
  const int processes =
      state_.set_aside.Lost({worker.id, worker.hello.process_nonce()}, of, reason, now);
  if (!state_.set_aside.Covers(worker.id, job->uid(), now)) return;
  state_.AddNotice(
      job, worker.id,
      absl::StrCat(worker.id.value(), " is ", state_.set_aside.Reason(worker.id, now)));
  Trials& trials = job->active->trials;
  // Another set of workers need not wait.
  if (MayLeaveOut(*job)) trials.retry_at_ms = 0;
  // What killed all its processes, with no step by anybody in between, will kill the next one.
  if (processes < limits::kMaxFailuresWithoutProgress ||
      trials.fruitless < limits::kMaxFailuresWithoutProgress || AnotherMayDo(*job, worker.id)) {
    return;
  }
  v1::JobError error;
  error.set_code(static_cast<int>(absl::StatusCode::kUnavailable));
  error.set_worker(WorkerName(worker.id));
  error.set_message(absl::StrCat("worker ", worker.id.value(), " was lost ", processes,
                                 " times before it had computed a step, and no other worker is "
                                 "there to do it; the last time: ",
                                 reason));
  FailJob(job, std::move(error));
}

bool Groups::MayLeaveOut(const JobEntry& job) const {
  return static_cast<int>(job.active->group.ranks.size()) > job.job().spec().min_workers();
}

bool Groups::AnotherMayDo(const JobEntry& job, const WorkerId& than) {
  const Make make{job.record.device_kind, job.job().numerics()};
  // A member whose stream was cut may be back in a moment.
  const Group& group = job.active->group;
  if (state_.now.monotonic_ms < group.grace_until_ms &&
      group.missing.size() > group.missing.count(than)) {
    return true;
  }
  for (const auto& [id, worker] : state_.workers.all()) {
    if (id == than || state_.set_aside.Covers(id, job.uid(), state_.now.monotonic_ms)) continue;
    if (!HasProgress(job) || make.Allows(MakeOf(worker))) return true;
  }
  return false;
}

bool Groups::IsTheJobsFault(const JobEntry& job, const WorkerEntry& worker) {
  const std::vector<WorkerFailure>& failures = job.active->trials.failures;
  if (failures.empty()) return false;
  std::set<WorkerId> said;
  // What several members say at once is one failure.
  std::set<int64_t> generations;
  int by_this = 0;
  for (const WorkerFailure& failure : failures) {
    said.insert(failure.worker);
    generations.insert(failure.generation);
    if (failure.worker == worker.id) ++by_this;
  }
  if (generations.size() >= limits::kMaxFailuresWithoutProgress && said.size() > 1) return true;
  if (said.size() >= limits::kSeveralWorkers && !HasProgress(job)) return true;
  if (AnotherMayDo(job, worker.id)) return false;
  // What has computed before may do so again, once; what never has will not.
  return !HasProgress(job) || by_this > 1;
}

bool Groups::BlameForUnreachable(JobEntry* job) {
  const Group& group = job->active->group;
  const Trials& trials = job->active->trials;
  // Where a member is gone, that is why others did not reach each other.
  if (group.progressed || !group.unreachable || !group.missing.empty()) return false;
  // Who worked with the others before is trusted more, then who is estranged from fewer, then who
  // was there first.
  WorkerEntry* blamed = nullptr;
  std::tuple<bool, size_t, size_t> worst;
  for (size_t rank = 0; rank < group.ranks.size(); ++rank) {
    const WorkerId& id = group.ranks[rank];
    size_t from = 0;
    if (const auto found = group.estranged.find(id); found != group.estranged.end()) {
      // Who left by itself could not be reached by anybody.
      for (const WorkerId& other : found->second) from += group.excused.count(other) == 0;
    }
    WorkerEntry* worker = state_.workers.Find(id);
    if ((from == 0 && !group.estranged.empty()) || group.excused.count(id) > 0 ||
        worker == nullptr || worker->job_uid != job->uid()) {
      continue;
    }
    const std::tuple<bool, size_t, size_t> badness(trials.worked.count(id) == 0, from, rank);
    if (blamed == nullptr || badness > worst) {
      blamed = worker;
      worst = badness;
    }
  }
  if (blamed == nullptr) return false;
  // All have worked together: the network between them may heal, but not for ever.
  const bool all_worked = !trials.worked.empty() && !std::get<0>(worst);
  if (all_worked && (trials.fruitless < limits::kFruitlessBeforeBlame || !MayLeaveOut(*job))) {
    return false;
  }
  PutAside(*blamed, job, /*any_job=*/false, group.disturbance);
  Release(blamed, job->job().name());
  job->active->trials.retry_at_ms = 0;
  return true;
}

void Groups::Progressed(JobEntry* job, bool newly) {
  Group& group = job->active->group;
  ActiveJob& active = *job->active;
  active.last_step_ms = state_.now.monotonic_ms;
  if (newly) {
    active.trials.failures.clear();
    active.trials.restarts = 0;
    active.trials.fruitless = 0;
    active.trials.retry_at_ms = 0;
  }
  // What the donor brought with it says nothing about the others.
  const bool brought = newly && job->job().committed_steps() <= group.first_step;
  if (group.progressed || brought) return;
  group.progressed = true;
  // It may come after the generation has ended.
  active.trials.fruitless = 0;
  active.trials.retry_at_ms = 0;
  active.trials.worked = std::set<WorkerId>(group.ranks.begin(), group.ranks.end());
  for (const WorkerId& id : group.ranks) state_.set_aside.DidWell(id, job->uid());
  // A group that has shown that it works may grow.
  state_.dirty = true;
}

void Groups::WorkerPrepared(WorkerEntry* worker) { Enter(worker, WorkerPhase::kPrepared); }

void Groups::WatchProgress() {
  for (JobEntry* job : state_.jobs.Engaged()) {
    if (job->active->group.phase == GroupPhase::kRunning) WatchGroup(job);
  }
  for (auto& [id, worker] : state_.workers.all()) {
    if (worker.phase != WorkerPhase::kPreparing ||
        worker.doing.still_seconds() * 1000 < limits::kPrepareStillMs) {
      continue;
    }
    JobEntry* job = state_.jobs.FindByUid(worker.job_uid);
    PutAside(worker, job, /*any_job=*/false, "reading the job's data does not get on");
    Release(&worker, job->job().name());
  }
}

std::string Groups::Standstill(const JobEntry& job, const WorkerEntry& member) const {
  const v1::Heartbeat& doing = member.doing;
  if (doing.doing().empty()) return "";
  if (doing.still_seconds() >= Patience(job)) {
    return absl::StrCat("its engine has stood still for ",
                        static_cast<int64_t>(doing.still_seconds()), " s at `", doing.doing(), "`");
  }
  const std::deque<double>& recent = job.active->recent_seconds;
  if (!job.active->group.progressed || recent.empty() || !IsPlainStep(job, doing.doing())) {
    return "";
  }
  const double longest = *std::max_element(recent.begin(), recent.end());
  const double endless = std::max(
      {Patience(job), limits::kEndlessStepMs / 1000.0, limits::kEndlessStepFactor * longest});
  const double busy = std::min(static_cast<double>(member.busy_ms) / 1000, doing.doing_seconds());
  if (busy < endless) return "";
  return absl::StrCat("its engine has been busy for ", static_cast<int64_t>(busy), " s at `",
                      doing.doing(), "`, where the longest of the last ", recent.size(),
                      " steps took ", absl::StrFormat("%.3g", longest), " s");
}

void Groups::WatchGroup(JobEntry* job) {
  const Group& group = job->active->group;
  const double patience = Patience(*job);
  size_t waiting = 0;
  for (const WorkerId& id : group.ranks) {
    WorkerEntry* worker = state_.workers.Find(id);
    if (worker == nullptr || worker->phase != WorkerPhase::kMember) return;
    const v1::Heartbeat& doing = worker->doing;
    if (doing.waiting()) {
      if (doing.doing_seconds() >= patience) ++waiting;
      continue;
    }
    const std::string standstill = Standstill(*job, *worker);
    if (standstill.empty()) continue;
    v1::JobError error;
    error.set_code(static_cast<int>(absl::StatusCode::kDeadlineExceeded));
    error.set_message(standstill);
    error.set_worker(WorkerName(id));
    return WorkerFailed(worker, job, v1::ANY_JOB_HERE, std::move(error));
  }
  if (waiting > 0 && waiting == group.ranks.size()) {
    job->active->group.unreachable = true;
    EndGeneration(job, absl::StrCat("all its workers have waited for each other for ",
                                    static_cast<int64_t>(patience), " s"));
  }
}

}  // namespace evograd
