#include "server/core/worker_messages.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "server/core/job_state.h"
#include "server/core/kept_checkpoints.h"
#include "server/core/message_check.h"
#include "server/core/timestamp.h"
#include "spec/error.h"

namespace evograd {
namespace {

// Steps whose seconds the median is taken over.
constexpr size_t kRecentSteps = 32;

bool InGeneration(const WorkerEntry& worker) {
  return worker.phase == WorkerPhase::kMember || worker.phase == WorkerPhase::kLeaving;
}

bool IsRankZero(const JobEntry& job, const WorkerEntry& worker) {
  const std::vector<WorkerId>& ranks = job.active->group.ranks;
  return !ranks.empty() && ranks.front() == worker.id;
}

double Median(std::deque<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The beginning of a UTF-8 text, cut between characters.
std::string CutText(const std::string& text, size_t max_bytes) {
  size_t size = std::min(text.size(), max_bytes);
  while (size > 0 && size < text.size() && (text[size] & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

v1::JobError ErrorOf(const absl::Status& status, const WorkerEntry& worker) {
  v1::JobError error;
  error.set_code(static_cast<int>(status.code()));
  error.set_message(std::string(status.message()));
  error.set_worker(WorkerName(worker.id));
  return error;
}

}  // namespace

void WorkerMessages::Refuse(ConnectionId connection, absl::Status status) {
  state_.effects.closes.push_back({connection, std::move(status)});
}

void WorkerMessages::Expel(WorkerEntry* worker, const std::string& what) {
  Refuse(worker->connection,
         MakeError(absl::StatusCode::kInvalidArgument,
                   absl::StrCat("worker ", worker->id.value(), " broke the protocol: ", what),
                   "MALFORMED_WORKER_MESSAGE", {{"worker", worker->id.value()}}));
  groups_.WorkerLost(worker, absl::StrCat("it broke the protocol: ", what));
}

void WorkerMessages::Connected(const ConnectedInput& input) {
  const v1::Hello& hello = input.hello;
  if (const absl::Status status = CheckHello(hello); !status.ok()) {
    return Refuse(input.connection, status);
  }
  const WorkerId id(hello.worker_id());
  if (WorkerEntry* old = state_.workers.Find(id); old != nullptr) {
    const v1::Hello& known = old->hello;
    const bool same_process = known.process_nonce() == hello.process_nonce() &&
                              known.host() == hello.host() &&
                              known.process_id() == hello.process_id();
    if (!same_process) {
      return Refuse(
          input.connection,
          MakeError(absl::StatusCode::kAlreadyExists,
                    absl::StrCat("worker id `", id.value(), "` is connected from process ",
                                 old->hello.process_id(), " on ", old->hello.host(),
                                 "; give this worker another id"),
                    "WORKER_ID_IN_USE", {{"worker", id.value()}}));
    }
    Refuse(old->connection, MakeError(absl::StatusCode::kAborted, "the worker dialled again",
                                      "WORKER_DIALLED_AGAIN", {{"worker", id.value()}}));
    groups_.WorkerLost(old, "it dialled again");
  } else if (state_.workers.all().size() >= limits::kMaxConnectedWorkers) {
    return Refuse(input.connection,
                  MakeError(absl::StatusCode::kResourceExhausted,
                            absl::StrCat(limits::kMaxConnectedWorkers,
                                         " workers are connected; no more are taken"),
                            "TOO_MANY_WORKERS"));
  }
  WorkerEntry entry;
  entry.id = id;
  entry.connection = input.connection;
  entry.hello = hello;
  entry.hello.clear_held();
  entry.last_heard_ms = state_.now.monotonic_ms;
  entry.since_ms = state_.now.monotonic_ms;
  entry.last_heard_unix_ms = entry.connect_unix_ms = state_.now.unix_ms;
  WorkerEntry* worker = state_.workers.Add(std::move(entry));
  v1::CoordinatorMessage welcome;
  welcome.mutable_welcome()->set_worker(WorkerName(id));
  welcome.mutable_welcome()->set_incarnation(state_.incarnation);
  welcome.mutable_welcome()->set_heartbeat_interval_ms(limits::kHeartbeatIntervalMs);
  state_.SendTo(*worker, std::move(welcome));
  state_.set_aside.Connected({id, hello.process_nonce()});
  if (!hello.busy_job().empty()) return groups_.Release(worker, hello.busy_job());
  if (hello.has_held()) return TakeBack(worker, hello.held());
  state_.last_freed_ms = state_.now.monotonic_ms;
  state_.dirty = true;
}

void WorkerMessages::TakeBack(WorkerEntry* worker, const v1::HeldState& held) {
  JobEntry* job = state_.jobs.FindByUid(held.job_uid());
  const bool useful =
      job != nullptr && job->active != nullptr && job->job().name() == held.job() &&
      held.generation() <= job->job().generation() &&
      worker->hello.device_kind() == job->record.device_kind &&
      (job->job().numerics().empty() || worker->hello.numerics() == job->job().numerics()) &&
      // A group that computes without it has left its state behind.
      job->active->group.phase != GroupPhase::kRunning && !groups_.LeftOut(*job, *worker);
  if (useful) {
    groups_.Reattach(job, worker, held.generation());
  } else {
    groups_.Release(worker, held.job());
  }
}

void WorkerMessages::Disconnected(const DisconnectedInput& input) {
  WorkerEntry* worker = state_.workers.Find(input.connection);
  if (worker != nullptr) groups_.WorkerLost(worker, input.reason);
}

void WorkerMessages::Said(const WorkerInput& input) {
  WorkerEntry* worker = state_.workers.Find(input.connection);
  if (worker == nullptr) return;
  worker->last_heard_ms = state_.now.monotonic_ms;
  worker->last_heard_unix_ms = state_.now.unix_ms;
  if (const absl::Status status = CheckWorkerMessage(input.message); !status.ok()) {
    Refuse(worker->connection, status);
    return groups_.WorkerLost(worker, std::string(status.message()));
  }
  switch (input.message.kind_case()) {
    case v1::WorkerMessage::kHeartbeat:
      return Beat(worker, input.message.heartbeat());
    case v1::WorkerMessage::kRendezvous:
      return Relay(*worker, input.message.rendezvous());
    case v1::WorkerMessage::kResults:
      return Results(worker, input.message.results());
    case v1::WorkerMessage::kGenerationLeft:
      return Left(worker, input.message.generation_left());
    case v1::WorkerMessage::kFinished:
      return Finished(worker, input.message.finished());
    case v1::WorkerMessage::kFailed:
      return Failed(worker, input.message.failed());
    case v1::WorkerMessage::kReleased:
      return Released(worker, input.message.released());
    case v1::WorkerMessage::kPrepared:
      return Prepared(worker, input.message.prepared());
    case v1::WorkerMessage::kTrouble:
      return Trouble(*worker, input.message.trouble());
    default:
      return;
  }
}

void WorkerMessages::Beat(WorkerEntry* worker, const v1::Heartbeat& heartbeat) {
  const v1::Heartbeat& before = worker->doing;
  const int64_t since_ms = state_.now.monotonic_ms - worker->last_beat_ms;
  const bool same = !heartbeat.waiting() && !before.waiting() &&
                    heartbeat.doing() == before.doing() &&
                    heartbeat.doing_seconds() >= before.doing_seconds();
  worker->busy_ms =
      same ? worker->busy_ms + std::min<int64_t>(since_ms, 2 * limits::kHeartbeatIntervalMs) : 0;
  worker->last_beat_ms = state_.now.monotonic_ms;
  worker->doing = heartbeat;
}

JobEntry* WorkerMessages::Current(const WorkerEntry& worker, const std::string& job_name,
                                  int64_t generation) {
  if (!InGeneration(worker) || worker.job_name != job_name || worker.generation != generation) {
    return nullptr;
  }
  JobEntry* job = state_.jobs.FindByUid(worker.job_uid);
  // One that came back may be in an older generation.
  return job->job().generation() == generation ? job : nullptr;
}

void WorkerMessages::Relay(const WorkerEntry& worker, const v1::RendezvousEntry& entry) {
  JobEntry* job = Current(worker, entry.job(), entry.generation());
  if (job == nullptr || job->active->group.phase != GroupPhase::kRunning) return;
  v1::CoordinatorMessage message;
  *message.mutable_rendezvous() = entry;
  for (const WorkerId& id : job->active->group.ranks) {
    state_.SendTo(*state_.workers.Find(id), message);
  }
}

void WorkerMessages::Results(WorkerEntry* worker, const v1::StepResults& results) {
  JobEntry* job = Current(*worker, results.job(), results.generation());
  if (job == nullptr) return;
  if (!IsRankZero(*job, *worker)) return Expel(worker, "results came from another rank than 0");
  v1::StepsCommitted steps;
  const int64_t committed_before = job->job().committed_steps();
  std::string broken;
  absl::Status failure;
  for (const v1::StepResult& result : results.results()) {
    const int64_t next = job->job().committed_steps();
    if (result.step() > next || result.step() >= job->job().spec().steps()) {
      broken = absl::StrCat("step ", result.step(), " of ", job->job().name(), " came, where step ",
                            next, " of ", job->job().spec().steps(), " is next");
      break;
    }
    failure = result.step() < next ? CompareRepeated(*job, *worker, result)
                                   : Commit(job, *worker, result, &steps);
    if (!failure.ok()) break;
    if (result.has_evaluation() && result.step() < next) {
      job->active->repeated_evaluation = result.evaluation();
      JoinEvaluation(&state_, job, result.evaluation());
    }
    groups_.Progressed(job, /*newly=*/result.step() == next);
  }
  FlushSteps(job, &steps);
  if (job->job().committed_steps() > committed_before) {
    state_.effects.records.push_back(HyperRecord{job->uid(), job->active->hyper.Encode()});
    state_.Touch(job);
  }
  if (!failure.ok()) return Wrong(job, worker, failure);
  if (job->job().has_last_evaluation()) {
    const absl::Status metric = CheckHasMetric(job->job().spec(), job->job().last_evaluation());
    if (!metric.ok()) return groups_.FailJob(job, ErrorOf(metric, *worker));
  }
  Acknowledge(*job);
  if (!broken.empty()) Expel(worker, broken);
}

void WorkerMessages::Wrong(JobEntry* job, WorkerEntry* worker, const absl::Status& failure) {
  switch (failure.code()) {
    case absl::StatusCode::kOutOfRange:
      return groups_.FailJob(job, ErrorOf(failure, *worker));
    case absl::StatusCode::kUnavailable:
      return groups_.EndGeneration(job, std::string(failure.message()));
    default:
      // Whoever computed with it holds what came of it.
      groups_.Distrust(job);
      return groups_.WorkerFailed(worker, job, v1::JOB_HERE, ErrorOf(failure, *worker));
  }
}

absl::Status WorkerMessages::CompareRepeated(const JobEntry& job, const WorkerEntry& worker,
                                             const v1::StepResult& result) {
  const absl::optional<uint64_t> recent = job.active->hyper.RecentChecksum(result.step());
  const absl::StatusOr<uint64_t> logged = recent.has_value()
                                              ? absl::StatusOr<uint64_t>(*recent)
                                              : state_.step_log.Checksum(job.uid(), result.step());
  if (!logged.ok()) {
    return absl::UnavailableError(absl::StrCat(
        "step ", result.step(), " of ", job.job().name(),
        " is committed, but cannot be read from the log: ", logged.status().message()));
  }
  if (*logged == result.state_checksum()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "step ", result.step(), " of ", job.job().name(), ", computed again by worker ",
      worker.id.value(),
      ", has other hyperparameters than those committed before; the machines compute differently "
      "(other software or other kinds of processor), or memory is faulty"));
}

absl::Status WorkerMessages::Commit(JobEntry* job, const WorkerEntry& worker,
                                    const v1::StepResult& result, v1::StepsCommitted* steps) {
  ActiveJob& active = *job->active;
  if (const absl::Status status = active.hyper.Advance(result); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("step ", result.step(), " of ", job->job().name(),
                                     " from worker ", worker.id.value(), ": ", status.message()));
  }
  state_.effects.records.push_back(StepRecord{job->uid(), result.step(), result.state_checksum()});
  v1::Job& proto = job->job();
  proto.set_committed_steps(result.step() + 1);
  *proto.mutable_last_step() = result.metrics();
  *proto.mutable_last_step_time() = Timestamp(state_.now.unix_ms);
  if (result.step() == 0 &&
      result.hyperparameter_names_size() <= limits::kMaxShownHyperparameters) {
    *proto.mutable_hyperparameter_names() = result.hyperparameter_names();
  }
  active.recent_seconds.push_back(result.metrics().seconds());
  if (active.recent_seconds.size() > kRecentSteps) active.recent_seconds.pop_front();
  proto.set_seconds_per_step(Median(active.recent_seconds));
  if (result.has_evaluation()) Evaluated(job, result.evaluation());
  steps->set_generation(proto.generation());
  *steps->add_steps() = result.metrics();
  if (steps->ByteSizeLong() >= limits::kMaxEventBytes) FlushSteps(job, steps);
  return absl::OkStatus();
}

void WorkerMessages::Evaluated(JobEntry* job, const v1::Evaluation& evaluation) {
  *job->job().mutable_last_evaluation() = evaluation;
  JoinEvaluation(&state_, job, evaluation);
  state_.AddEvent(job, [&](v1::Event* event) { *event->mutable_evaluated() = evaluation; });
  TellUnstoredBest(&state_, job, evaluation);
}

void WorkerMessages::FlushSteps(JobEntry* job, v1::StepsCommitted* steps) {
  if (steps->steps_size() == 0) return;
  state_.AddEvent(job, [&](v1::Event* event) { event->mutable_steps_committed()->Swap(steps); });
  steps->Clear();
}

void WorkerMessages::Acknowledge(const JobEntry& job) {
  v1::CoordinatorMessage message;
  message.mutable_acknowledge()->set_job(job.job().name());
  message.mutable_acknowledge()->set_generation(job.job().generation());
  message.mutable_acknowledge()->set_committed_steps(job.job().committed_steps());
  for (const WorkerId& id : job.active->group.ranks) {
    const WorkerEntry* member = state_.workers.Find(id);
    if (member != nullptr && InGeneration(*member) && member->job_uid == job.uid()) {
      state_.SendTo(*member, message);
    }
  }
}

void WorkerMessages::Left(WorkerEntry* worker, const v1::GenerationLeft& left) {
  const v1::HeldState& held = left.held();
  if (!InGeneration(*worker) || held.job_uid() != worker->job_uid) return;
  if (held.generation() != worker->generation) return;
  groups_.WorkerLeft(worker, left);
}

void WorkerMessages::Finished(WorkerEntry* worker, const v1::JobFinished& finished) {
  JobEntry* job = Current(*worker, finished.job(), finished.generation());
  if (job == nullptr) return;
  v1::Job& proto = job->job();
  if (!IsRankZero(*job, *worker)) return Expel(worker, "JobFinished came from another rank than 0");
  if (proto.committed_steps() != proto.spec().steps()) {
    return Expel(worker, absl::StrCat("JobFinished came after ", proto.committed_steps(), " of ",
                                      proto.spec().steps(), " steps were committed"));
  }
  Evaluated(job, finished.evaluation());
  proto.set_parameters_sha256(finished.parameters_sha256());
  proto.set_hyperparameters_sha256(finished.hyperparameters_sha256());
  groups_.EndJob(job, v1::SUCCEEDED, absl::StrCat("finished ", proto.committed_steps(), " steps"));
}

void WorkerMessages::Failed(WorkerEntry* worker, const v1::JobFailed& failed) {
  const bool preparing =
      worker->phase == WorkerPhase::kPreparing && worker->job_name == failed.job();
  JobEntry* job = preparing ? state_.jobs.FindByUid(worker->job_uid)
                            : Current(*worker, failed.job(), failed.generation());
  if (job == nullptr) return;
  v1::JobError error = failed.error();
  error.set_worker(WorkerName(worker->id));
  if (error.message().size() > limits::kMaxJobErrorBytes) {
    error.set_message(CutText(error.message(), limits::kMaxJobErrorBytes));
  }
  const bool here = failed.scope() == v1::JOB_HERE || failed.scope() == v1::ANY_JOB_HERE ||
                    failed.scope() == v1::STATE_IN_DOUBT;
  if (here || preparing) return groups_.WorkerFailed(worker, job, failed.scope(), std::move(error));
  groups_.FailJob(job, std::move(error));
}

void WorkerMessages::Prepared(WorkerEntry* worker, const v1::JobPrepared& prepared) {
  if (worker->phase == WorkerPhase::kPreparing && worker->job_uid == prepared.job_uid() &&
      worker->job_name == prepared.job()) {
    groups_.WorkerPrepared(worker);
  }
}

void WorkerMessages::Trouble(const WorkerEntry& worker, const v1::Trouble& trouble) {
  JobEntry* job = Current(worker, trouble.job(), trouble.generation());
  if (job == nullptr) return;
  ActiveJob& active = *job->active;
  const std::string text = CutText(trouble.text(), limits::kMaxWorkerTextBytes);
  // It may be told every few seconds for days.
  const bool told =
      !active.trouble.empty() &&
      state_.now.monotonic_ms < active.trouble_told_ms + limits::kTroubleNoticeIntervalMs;
  active.trouble = text;
  if (told || text.empty()) return;
  active.trouble_told_ms = state_.now.monotonic_ms;
  state_.AddNotice(job, worker.id, text);
}

void WorkerMessages::Released(WorkerEntry* worker, const v1::JobReleased& released) {
  if (worker->phase != WorkerPhase::kReleasing || worker->job_name != released.job()) return;
  groups_.WorkerReleased(worker);
}

}  // namespace evograd
