#include "server/core/coordinator_machine.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/core/job_state.h"

namespace evograd {
namespace {

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

// What a job that has not ended is in memory after a restart: its workers may come back.
absl::StatusOr<std::unique_ptr<ActiveJob>> Revive(
    const JobRecord& record, const std::map<std::string, std::string>& hyper_states, Now now) {
  const v1::Job& job = record.job;
  auto active = std::make_unique<ActiveJob>(job.spec());
  const auto hyper = hyper_states.find(job.uid());
  if (hyper != hyper_states.end()) EVOGRAD_RETURN_IF_ERROR(active->hyper.Decode(hyper->second));
  if (active->hyper.steps() != job.committed_steps()) {
    return absl::DataLossError(
        absl::StrCat("job ", job.name(), " has ", job.committed_steps(),
                     " committed steps, its stored hyperparameters are those after ",
                     active->hyper.steps(), "; the data directory is damaged"));
  }
  for (const std::string& name : job.workers()) {
    const WorkerId id(std::string(absl::StripPrefix(name, "workers/")));
    active->group.ranks.push_back(id);
    active->group.missing.insert(id);
  }
  // Whoever held its state was given up before the coordinator's own restart.
  if (job.generation() > 0 && job.workers().empty()) {
    active->group.state_lost = "all its workers were lost";
  }
  active->group.reattaching = !active->group.missing.empty();
  active->group.grace_until_ms = now.monotonic_ms + limits::kReattachGraceMs;
  return active;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorMachine>> CoordinatorMachine::Make(
    Snapshot snapshot, const StepLog& step_log, Now now) {
  std::unique_ptr<CoordinatorMachine> machine(new CoordinatorMachine(step_log));
  EVOGRAD_RETURN_IF_ERROR(machine->Load(std::move(snapshot), now));
  return machine;
}

absl::Status CoordinatorMachine::Load(Snapshot snapshot, Now now) {
  state_.incarnation = snapshot.incarnation;
  last_tick_ms_ = now.monotonic_ms;
  for (JobRecord& record : snapshot.jobs) {
    JobEntry entry;
    const auto last_event = snapshot.last_events.find(record.job.uid());
    if (last_event != snapshot.last_events.end()) entry.last_event = last_event->second;
    if (!IsEnded(record.job.state())) {
      EVOGRAD_ASSIGN_OR_RETURN(entry.active, Revive(record, snapshot.hyper_states, now));
    }
    entry.record = std::move(record);
    state_.jobs.Add(std::move(entry));
  }
  for (RequestRecord& record : snapshot.requests) {
    if (state_.jobs.FindByUid(record.job_uid) == nullptr) {
      return absl::DataLossError("a stored request refers to a job that is not stored");
    }
    std::string id = record.request_id;
    state_.requests.emplace(std::move(id), std::move(record));
  }
  for (const CheckpointRecord& record : snapshot.checkpoints) {
    JobEntry* job = state_.jobs.FindByUid(record.job_uid);
    if (job == nullptr)
      return absl::DataLossError("a stored checkpoint refers to a job that is not stored");
    job->checkpoints[record.checkpoint.step()] = record.checkpoint;
  }
  return absl::OkStatus();
}

Effects CoordinatorMachine::Step(const Input& input, Now now) {
  state_.now = now;
  std::visit(Overloaded{
                 [&](const CreateJobInput& in) { job_calls_.Create(in); },
                 [&](const GetJobInput& in) { job_calls_.Get(in); },
                 [&](const ListJobsInput& in) { job_calls_.List(in); },
                 [&](const CancelJobInput& in) { job_calls_.Cancel(in); },
                 [&](const ListWorkersInput& in) { job_calls_.ListWorkers(in); },
                 [&](const ListCheckpointsInput& in) { checkpoint_calls_.List(in); },
                 [&](const FindCheckpointInput& in) { checkpoint_calls_.Find(in); },
                 [&](const BeginUploadInput& in) { checkpoint_calls_.BeginUpload(in); },
                 [&](const FinishUploadInput& in) { checkpoint_calls_.FinishUpload(in); },
                 [&](const DamagedCheckpointInput& in) { checkpoint_calls_.Damaged(in); },
                 [&](const ConnectedInput& in) { worker_messages_.Connected(in); },
                 [&](const WorkerInput& in) { worker_messages_.Said(in); },
                 [&](const DisconnectedInput& in) { worker_messages_.Disconnected(in); },
                 [&](const TickInput&) { Tick(); },
             },
             input);
  groups_.Settle();
  return state_.Finish();
}

void CoordinatorMachine::Tick() {
  const int64_t now = state_.now.monotonic_ms;
  // Where the coordinator itself stood still, the silence is not the workers'.
  if (now - last_tick_ms_ >= limits::kStalledMs) {
    for (auto& [id, worker] : state_.workers.all()) worker.last_heard_ms = now;
  }
  last_tick_ms_ = now;
  groups_.CheckDeadlines();
}

}  // namespace evograd
