// What each input means; what is started because of it is in agent_machine_work.cc.
#include "worker/core/agent_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spec/checkpoint_steps.h"
#include "worker/core/failure.h"

namespace evograd::agent {
namespace {

// Of an error, for a person.
std::string MessageOf(const absl::Status& status) {
  return CleanText(status.message().empty() ? absl::StatusCodeToString(status.code())
                                            : std::string(status.message()));
}

}  // namespace

AgentMachine::AgentMachine(v1::Hello hello) : hello_(std::move(hello)) {}

std::vector<Action> AgentMachine::Handle(Input input) {
  std::visit([this](auto& value) { On(std::move(value)); }, input);
  Proceed();
  return std::exchange(actions_, {});
}

// ---- The stream --------------------------------------------------------------------------------

void AgentMachine::On(const StreamUp&) {
  connected_ = true;
  welcomed_ = false;
  left_told_.reset();
  v1::WorkerMessage message;
  *message.mutable_hello() = hello_;
  if (membership_) {
    *message.mutable_hello()->mutable_held() = Held();
  } else if (running_) {
    message.mutable_hello()->set_busy_job(holding_->job);
  }
  Tell(std::move(message));
}

void AgentMachine::On(const StreamDown&) {
  connected_ = false;
  left_due_.reset();
  if (release_due_) release_due_->asked = false;
  if (preparing_ && running_) StopTask();
  preparing_.reset();
  if (!membership_) return;
  membership_->attached = false;
  membership_->unsent.clear();
  membership_->upload_due = false;
  if (uploading_ && !uploading_->stopping) {
    uploading_->stopping = true;
    Act(StopUpload{});
  }
}

void AgentMachine::On(const v1::CoordinatorMessage& message) {
  if (message.has_welcome()) {
    welcomed_ = true;
    Note(absl::StrCat("connected as ", message.welcome().worker()));
    return;
  }
  if (!welcomed_) return;
  switch (message.kind_case()) {
    case v1::CoordinatorMessage::kStartGeneration:
      return OnStart(message.start_generation());
    case v1::CoordinatorMessage::kEndGeneration:
      return OnEnd(message.end_generation());
    case v1::CoordinatorMessage::kReleaseJob:
      return OnRelease(message.release_job().job());
    case v1::CoordinatorMessage::kPrepareJob:
      return OnPrepare(message.prepare_job());
    case v1::CoordinatorMessage::kRendezvous: {
      const v1::RendezvousEntry& entry = message.rendezvous();
      if (IsCurrent(entry.generation()) && entry.job() == membership_->start.job()) {
        Act(DeliverRendezvous{entry});
      }
      return;
    }
    case v1::CoordinatorMessage::kAcknowledge: {
      const v1::Acknowledge& ack = message.acknowledge();
      if (IsCurrent(ack.generation()) && ack.job() == membership_->start.job()) {
        membership_->committed = std::max(membership_->committed, ack.committed_steps());
        std::optional<int64_t>& awaited = membership_->sent_until;
        if (awaited && *awaited <= ack.committed_steps()) awaited.reset();
      }
      return;
    }
    default:
      return;
  }
}

void AgentMachine::On(const RendezvousPut& put) {
  if (!IsCurrent(put.generation) || !membership_->attached) return;
  v1::WorkerMessage message;
  v1::RendezvousEntry* entry = message.mutable_rendezvous();
  entry->set_job(membership_->start.job());
  entry->set_generation(put.generation);
  entry->set_key(put.key);
  entry->set_value(put.value);
  Tell(std::move(message));
}

// ---- Generations -------------------------------------------------------------------------------

void AgentMachine::OnStart(const v1::StartGeneration& start) {
  if (membership_ && membership_->start.job_uid() == start.job_uid() &&
      start.generation() <= membership_->start.generation()) {
    return;
  }
  if (membership_) EndMembership();
  left_due_.reset();
  preparing_.reset();
  // To say that the job was dropped would be wrong from now on.
  if (release_due_ && release_due_->job == start.job()) release_due_->asked = false;
  if (running_ && running_->task == EngineTask::kPrepare && holding_->job_uid != start.job_uid()) {
    StopTask();
  }
  membership_.emplace();
  membership_->start = start;
  membership_->committed = start.committed_steps();
  Act(OpenRendezvous{start.generation()});
  Note(absl::StrCat(start.job(), ": generation ", start.generation(), ", rank ", start.rank(),
                    " of ", start.size()));
}

void AgentMachine::OnEnd(const v1::EndGeneration& end) {
  const bool ours = membership_ && membership_->start.job() == end.job();
  if (ours && end.generation() < membership_->start.generation()) return;
  if (left_told_ == end.generation() && ours) return;
  if (!ours) {
    // Of a job that is not held: said once more, so that nobody waits for the answer.
    v1::WorkerMessage message;
    v1::HeldState* held = message.mutable_generation_left()->mutable_held();
    held->set_job(end.job());
    held->set_generation(end.generation());
    return Tell(std::move(message));
  }
  if (!membership_->over) {
    Note(absl::StrCat(end.job(), ": generation ", end.generation(), " ends: ", end.reason()));
  }
  EndMembership();
  membership_->failed = false;
  if (!left_due_) left_due_ = LeftAnswer{end.generation(), "", {}};
}

void AgentMachine::OnRelease(const std::string& job) {
  const bool member = membership_ && membership_->start.job() == job;
  if (member) {
    EndMembership();
    membership_.reset();
    left_due_.reset();
  }
  if (preparing_ && preparing_->start.job() == job) preparing_.reset();
  if (!member && !Holds(job)) {
    v1::WorkerMessage message;
    message.mutable_released()->set_job(job);
    return Tell(std::move(message));
  }
  if (Holds(job) && running_) StopTask();
  release_due_ = ReleaseAnswer{job, !Holds(job)};
}

void AgentMachine::OnPrepare(const v1::PrepareJob& prepare) {
  if (membership_) return;
  const v1::StartGeneration& start = prepare.start();
  // To say that the job was dropped would be wrong from now on.
  if (release_due_ && release_due_->job == start.job()) release_due_->asked = false;
  if (running_ && running_->task == EngineTask::kPrepare && holding_->job_uid != start.job_uid()) {
    StopTask();
  }
  preparing_ = Preparation{start};
  Note(absl::StrCat(start.job(), ": reads its data, to join those that compute it"));
}

void AgentMachine::EndMembership() {
  if (!membership_->over) Act(CloseRendezvous{});
  membership_->over = true;
  membership_->upload_due = false;
  if (running_ && running_->task != EngineTask::kPrepare) StopTask();
  if (uploading_ && !uploading_->stopping) {
    uploading_->stopping = true;
    Act(StopUpload{});
  }
}

void AgentMachine::StopTask() {
  const bool blocks = running_->task != EngineTask::kLeave && running_->task != EngineTask::kDrop;
  if (!blocks || running_->stopping) return;
  running_->stopping = true;
  Act(StopEngine{});
}

// ---- Outcomes ----------------------------------------------------------------------------------

void AgentMachine::On(EngineOutcome outcome) {
  const Running ended = *std::exchange(running_, std::nullopt);
  holding_->has_state = outcome.has_state;
  holding_->phases = outcome.phases;
  const bool same_job = membership_ && membership_->start.job_uid() == holding_->job_uid;
  if (ended.task == EngineTask::kDrop) {
    if (release_due_ && Holds(release_due_->job)) release_due_->dropped = true;
    holding_.reset();
    open_.reset();
    return;
  }
  if (ended.task == EngineTask::kLeave) {
    open_.reset();
    return;
  }
  if (ended.task == EngineTask::kPrepare) {
    if (!outcome.status.ok()) {
      if (release_due_ && Holds(release_due_->job)) release_due_->dropped = true;
      holding_.reset();
    }
    if (ended.stopping) return;
    if (!membership_ && preparing_) return Prepared(outcome);
    if (!outcome.status.ok() && same_job && !membership_->over) Fail(outcome.status, v1::JOB_HERE);
    return;
  }
  if (ended.task == EngineTask::kStep) holding_->unstored_seconds += outcome.seconds;
  if (!same_job || !IsCurrent(ended.generation)) return;
  if (!outcome.status.ok()) {
    if (outcome.ranks_disagree) return Disagree(outcome);
    // The same bits are not finite everywhere.
    const bool everywhere = outcome.status.code() == absl::StatusCode::kOutOfRange;
    return Fail(outcome.status,
                everywhere        ? v1::EVERYWHERE
                : outcome.any_job ? v1::ANY_JOB_HERE
                                  : v1::JOB_HERE,
                outcome.suspects);
  }
  switch (ended.task) {
    case EngineTask::kJoin:
      membership_->joined = true;
      holding_->in_doubt = false;
      // What was just restored is stored.
      if (!membership_->start.donor_holds_state() && !membership_->start.checkpoint().empty()) {
        membership_->serialised_step = membership_->settled_step = completed();
        membership_->final_stored = completed() == steps();
      }
      return KeepForSending(std::move(outcome.results), membership_->committed);
    case EngineTask::kStep:
      // Also where it is committed already: what is computed again is checked against the log.
      return KeepForSending(std::move(outcome.results), 0);
    case EngineTask::kSerialise:
      membership_->serialised_step = completed();
      membership_->upload_due = membership_->attached;
      holding_->serialised_seconds = holding_->unstored_seconds;
      holding_->serialise_seconds = outcome.seconds;
      return;
    case EngineTask::kEvaluate: {
      v1::JobFinished& figures = membership_->final_figures.emplace();
      figures.set_job(membership_->start.job());
      figures.set_generation(membership_->start.generation());
      *figures.mutable_evaluation() = std::move(outcome.evaluation);
      figures.set_parameters_sha256(outcome.parameters_sha256);
      figures.set_hyperparameters_sha256(outcome.hyperparameters_sha256);
      return;
    }
    default:
      return;
  }
}

void AgentMachine::On(const UploadOutcome& outcome) {
  const Uploading ended = *std::exchange(uploading_, std::nullopt);
  if (ended.stopping || !IsCurrent(ended.generation)) return;
  // One that is refused is not made again at once either.
  holding_->unstored_seconds -= std::exchange(holding_->serialised_seconds, 0);
  const bool final = ended.step == steps();
  const bool kept = IsKeptStep(membership_->start.spec(), ended.step);
  if (outcome.status.ok()) {
    membership_->settled_step = ended.step;
    membership_->final_stored = final;
    return;
  }
  const std::string what = absl::StrCat(
      "the checkpoint of step ", ended.step, kept && !final ? ", which was to be kept," : "",
      " could not be stored: ", std::string(outcome.status.message()));
  // Of the last step, or refused to this generation only: the next one stores it.
  if (final || (kept && EndsOnlyTheGeneration(outcome.status))) {
    return Fail(absl::Status(outcome.status.code(), what), v1::EVERYWHERE);
  }
  // Without one of the earlier ones the job only has more to do again, should all workers be lost.
  membership_->settled_step = ended.step;
  TellTrouble(what);
  Note(absl::StrCat(membership_->start.job(), ": ", what));
}

void AgentMachine::On(const UploadTrouble& trouble) {
  // It may come after its upload was told to stop, when there is another job already.
  if (uploading_ && !uploading_->stopping) TellTrouble(trouble.text);
}

void AgentMachine::On(const RestoreTrouble& trouble) {
  if (running_ && IsCurrent(running_->generation)) TellTrouble(trouble.text);
}

void AgentMachine::TellTrouble(const std::string& text) {
  if (!membership_->attached) return;
  v1::WorkerMessage message;
  message.mutable_trouble()->set_job(membership_->start.job());
  message.mutable_trouble()->set_generation(membership_->start.generation());
  message.mutable_trouble()->set_text(CleanText(text));
  Tell(std::move(message));
}

void AgentMachine::Disagree(const EngineOutcome& outcome) {
  const std::vector<int>& differing = outcome.suspects;
  const bool differs = differing.empty() || std::count(differing.begin(), differing.end(),
                                                       membership_->start.rank()) > 0;
  // Also with most: the one that differs has a share in the sums of the others' last step.
  holding_->in_doubt = true;
  // Who holds what most do has nothing to say against itself.
  if (!differs) return Leave(MessageOf(outcome.status));
  Fail(outcome.status, v1::STATE_IN_DOUBT);
}

void AgentMachine::Prepared(const EngineOutcome& outcome) {
  const v1::StartGeneration& start = preparing_->start;
  if (!outcome.status.ok()) {
    TellFailed(start, outcome.status, v1::JOB_HERE);
    return preparing_.reset();
  }
  preparing_->told = true;
  v1::WorkerMessage message;
  message.mutable_prepared()->set_job(start.job());
  message.mutable_prepared()->set_job_uid(start.job_uid());
  Tell(std::move(message));
}

void AgentMachine::Fail(const absl::Status& status, v1::FailureScope scope,
                        const std::vector<int>& suspects) {
  if (EndsOnlyTheGeneration(status)) return Leave(MessageOf(status), suspects);
  EndMembership();
  if (!membership_->attached) return;
  membership_->failed = true;
  TellFailed(membership_->start, status, scope);
}

void AgentMachine::TellFailed(const v1::StartGeneration& start, const absl::Status& status,
                              v1::FailureScope scope) {
  Note(absl::StrCat(start.job(), ": failed: ", MessageOf(status)));
  v1::WorkerMessage told;
  v1::JobFailed* failed = told.mutable_failed();
  failed->set_job(start.job());
  failed->set_generation(membership_ ? start.generation() : 0);
  failed->mutable_error()->set_code(static_cast<int>(status.code()));
  failed->mutable_error()->set_message(MessageOf(status));
  failed->mutable_error()->set_worker(absl::StrCat("workers/", hello_.worker_id()));
  failed->set_scope(scope);
  Tell(std::move(told));
}

void AgentMachine::Leave(const std::string& reason, const std::vector<int>& suspects) {
  const int64_t generation = membership_->start.generation();
  Note(absl::StrCat(membership_->start.job(), ": leaves generation ", generation, ": ", reason));
  EndMembership();
  if (membership_->attached) left_due_ = LeftAnswer{generation, reason, suspects};
}

}  // namespace evograd::agent
