// What the machine starts, answers and sends once an input has been understood.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "spec/checkpoint_steps.h"
#include "worker/core/agent_machine.h"

namespace evograd::agent {

void AgentMachine::Proceed() {
  SendResults();
  Upload();
  if (!running_ && !TidyEngine()) EnterGeneration();
  AnswerLeft();
  AnswerRelease();
}

bool AgentMachine::TidyEngine() {
  if (!holding_) return false;
  const bool released = release_due_ && !release_due_->dropped;
  const v1::StartGeneration* wanted = membership_  ? &membership_->start
                                      : preparing_ ? &preparing_->start
                                                   : nullptr;
  if (released || wanted == nullptr || wanted->job_uid() != holding_->job_uid) {
    Run(EngineTask::kDrop);
    return true;
  }
  if (!open_ || !membership_) return false;
  const bool left = membership_->over && !membership_->failed;
  if (!left && *open_ == membership_->start.generation()) return false;
  Run(EngineTask::kLeave);
  return true;
}

void AgentMachine::EnterGeneration() {
  if (!membership_ && preparing_) {
    // Ready from before, where the engine holds the job already.
    if (preparing_->told) return;
    if (holding_) return Prepared(EngineOutcome());
    holding_ = Holding{preparing_->start.job(), preparing_->start.job_uid()};
    return Run(EngineTask::kPrepare);
  }
  if (!membership_ || membership_->over) return;
  const v1::StartGeneration& start = membership_->start;
  if (!holding_) {
    holding_ = Holding{start.job(), start.job_uid()};
    return Run(EngineTask::kPrepare);
  }
  if (membership_->joined) {
    return Work();
  }
  if (start.rank() == 0 && start.donor_holds_state() && !holding_->has_state) {
    return Leave("it was to go on from a state that it does not hold");
  }
  open_ = start.generation();
  Run(EngineTask::kJoin);
}

void AgentMachine::Upload() {
  if (!membership_ || !membership_->upload_due || uploading_) return;
  // A checkpoint is never ahead of the coordinator's log.
  if (membership_->committed < membership_->serialised_step) return;
  membership_->upload_due = false;
  uploading_ = Uploading{membership_->start.generation(), membership_->serialised_step};
  Act(StartUpload{UploadHeader()});
}

void AgentMachine::Work() {
  const v1::StartGeneration& start = membership_->start;
  const bool donor = start.rank() == 0;
  if (completed() >= steps()) {
    if (donor && membership_->committed >= steps()) Finish();
    return;
  }
  if (donor && CheckpointDue() && SlotFree()) return Run(EngineTask::kSerialise);
  if (donor && AwaitsKept()) return;
  const int64_t depth = start.spec().pipeline_depth();
  const bool room = static_cast<int64_t>(membership_->unsent.size()) < depth;
  if (completed() < membership_->committed + depth && room) Run(EngineTask::kStep);
}

bool AgentMachine::CheckpointDue() const {
  if (completed() == 0 || holding_->phases % 2 != 0) return false;
  if (membership_->serialised_step == completed()) return false;
  const v1::JobSpec& spec = membership_->start.spec();
  if (IsCheckpointStep(spec, completed())) return true;
  const double seconds =
      std::max<double>(spec.checkpoint_interval_seconds(),
                       limits::kCheckpointCostRatio * holding_->serialise_seconds);
  return spec.checkpoint_interval_seconds() > 0 && holding_->unstored_seconds >= seconds;
}

bool AgentMachine::AwaitsKept() const {
  return holding_->phases % 2 == 0 && membership_->settled_step != completed() &&
         IsKeptStep(membership_->start.spec(), completed());
}

void AgentMachine::Finish() {
  if (membership_->finished) return;
  if (membership_->serialised_step != steps()) {
    if (SlotFree()) Run(EngineTask::kSerialise);
    return;
  }
  // Whatever the evaluation meets, what was trained is kept.
  if (!membership_->final_stored || !membership_->attached) return;
  if (!membership_->final_figures) return Run(EngineTask::kEvaluate);
  membership_->finished = true;
  v1::WorkerMessage message;
  *message.mutable_finished() = *membership_->final_figures;
  Tell(std::move(message));
  Note(absl::StrCat(membership_->start.job(), ": finished"));
}

void AgentMachine::AnswerLeft() {
  const bool stopped = !running_ || running_->task == EngineTask::kPrepare;
  if (!left_due_ || !stopped || open_) return;
  const LeftAnswer answer = *std::exchange(left_due_, std::nullopt);
  v1::WorkerMessage message;
  v1::GenerationLeft* left = message.mutable_generation_left();
  *left->mutable_held() = Held();
  left->mutable_held()->set_generation(answer.generation);
  left->set_reason(answer.reason);
  for (const int rank : answer.suspects) left->add_suspect_ranks(rank);
  left_told_ = answer.generation;
  Tell(std::move(message));
}

void AgentMachine::AnswerRelease() {
  if (!release_due_ || !release_due_->dropped || uploading_) return;
  const ReleaseAnswer answer = *std::exchange(release_due_, std::nullopt);
  if (!answer.asked) return;
  v1::WorkerMessage message;
  message.mutable_released()->set_job(answer.job);
  Tell(std::move(message));
  Note(absl::StrCat(answer.job, ": released"));
}

bool AgentMachine::IsCurrent(int64_t generation) const {
  return membership_ && !membership_->over && membership_->start.generation() == generation;
}

v1::HeldState AgentMachine::Held() const {
  v1::HeldState held;
  held.set_job(membership_->start.job());
  held.set_job_uid(membership_->start.job_uid());
  held.set_generation(membership_->start.generation());
  if (holding_ && holding_->job_uid == held.job_uid() && holding_->has_state &&
      !holding_->in_doubt) {
    held.set_has_state(true);
    held.set_phases(holding_->phases);
  }
  return held;
}

v1::UploadCheckpointRequest AgentMachine::UploadHeader() const {
  v1::UploadCheckpointRequest header;
  header.set_job(membership_->start.job());
  header.set_job_uid(membership_->start.job_uid());
  header.set_generation(membership_->start.generation());
  header.set_step(membership_->serialised_step);
  return header;
}

void AgentMachine::Run(EngineTask task) {
  RunEngine action;
  action.task = task;
  running_ = Running{task, membership_ ? membership_->start.generation() : 0};
  if (task == EngineTask::kPrepare || task == EngineTask::kJoin) {
    action.start = membership_ ? membership_->start : preparing_->start;
  }
  if (membership_) action.forget_before = membership_->committed;
  Act(std::move(action));
}

void AgentMachine::Tell(v1::WorkerMessage message) {
  if (connected_) Act(Send{std::move(message)});
}

void AgentMachine::KeepForSending(std::vector<v1::StepResult> results, int64_t from_step) {
  if (membership_->start.rank() != 0 || !membership_->attached) return;
  for (v1::StepResult& result : results) {
    if (result.step() >= from_step) membership_->unsent.push_back(std::move(result));
  }
}

void AgentMachine::SendResults() {
  if (!membership_ || membership_->over || membership_->unsent.empty()) return;
  if (membership_->sent_until) return;
  v1::WorkerMessage message;
  size_t bytes = 0;
  const auto flush = [&] {
    if (!message.has_results()) return;
    message.mutable_results()->set_job(membership_->start.job());
    message.mutable_results()->set_generation(membership_->start.generation());
    Tell(std::exchange(message, v1::WorkerMessage()));
    bytes = 0;
  };
  membership_->sent_until = membership_->unsent.back().step() + 1;
  for (v1::StepResult& result : std::exchange(membership_->unsent, {})) {
    const size_t size = result.ByteSizeLong();
    if (bytes + size > limits::kMaxResultsBytes ||
        message.results().results_size() == limits::kMaxPipelineDepth) {
      flush();
    }
    *message.mutable_results()->add_results() = std::move(result);
    bytes += size;
  }
  flush();
}

void AgentMachine::Note(std::string text) { Act(Say{std::move(text)}); }

}  // namespace evograd::agent
