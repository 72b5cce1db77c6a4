#include "server/core/testing/model_worker.h"

#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "spec/checkpoint_steps.h"
#include "spec/optimizer.h"

namespace evograd::testing {
namespace {

// The key under which the donor of a generation gives its state to the others.
constexpr char kStateKey[] = "state";

int64_t StepOfCheckpoint(const std::string& name) {
  int64_t step = 0;
  const size_t slash = name.rfind('/');
  if (slash != std::string::npos && !absl::SimpleAtoi(name.substr(slash + 1), &step)) return 0;
  return step;
}

}  // namespace

// Goes up and down with the step.
double Score(const v1::JobSpec& spec, int64_t step) {
  return static_cast<double>((step * 37 + static_cast<int64_t>(spec.seed())) % 101) / 101;
}

v1::StepResult ComputeStep(const v1::JobSpec& spec, int64_t step, HyperState* state) {
  const OptimizerConfig config = ToOptimizerConfig(spec.meta_optimizer());
  v1::StepResult result;
  result.set_step(step);
  if (step == 0) {
    *state = InitialHyperState({0.5, -1.0}, config);
    for (const double value : state->values) result.add_initial_hyperparameters(value);
    result.add_hyperparameter_names("a");
    result.add_hyperparameter_names("b");
  }
  const double x = Score(spec, step);
  result.add_hypergradient(x - 0.5);
  result.add_hypergradient(0.25 - x * x);
  const absl::Status status = Advance(config, result.hypergradient(), state);
  if (!status.ok()) std::abort();
  result.set_state_checksum(Checksum(*state));
  result.mutable_metrics()->set_step(step);
  result.mutable_metrics()->set_seconds(0.25);
  for (const double value : state->values) result.mutable_metrics()->add_hyperparameters(value);
  const int64_t interval = spec.evaluation_interval_steps();
  if (interval > 0 && step % interval == 0) {
    result.mutable_evaluation()->set_step(step);
    (*result.mutable_evaluation()->mutable_metrics())["score"] = x;
  }
  return result;
}

v1::Hello ModelWorker::Hello() const {
  v1::Hello hello = identity_;
  hello.set_protocol_version(limits::kProtocolVersion);
  hello.set_worker_id(id_);
  hello.set_device_kind(kind_);
  hello.set_host("model");
  hello.set_process_id(static_cast<int64_t>(std::hash<std::string>()(id_) % 100'000));
  if (holding_) *hello.mutable_held() = Held();
  return hello;
}

v1::HeldState ModelWorker::Held() const {
  v1::HeldState held;
  held.set_job(start_.job());
  held.set_job_uid(start_.job_uid());
  held.set_generation(start_.generation());
  held.set_has_state(has_state_);
  held.set_phases(has_state_ ? phases_ : 0);
  return held;
}

void ModelWorker::StreamUp() { connected_ = true; }

void ModelWorker::StreamDown() {
  connected_ = attached_ = false;
  uploading_ = false;
  upload_.reset();
  output_.clear();
}

void ModelWorker::Say(v1::WorkerMessage message) {
  if (connected_) output_.push_back(std::move(message));
}

std::vector<v1::WorkerMessage> ModelWorker::TakeOutput() { return std::exchange(output_, {}); }

absl::optional<v1::UploadCheckpointRequest> ModelWorker::TakeUpload() {
  return std::exchange(upload_, absl::nullopt);
}

void ModelWorker::UploadDone(bool stored) {
  if (!uploading_) return;
  uploading_ = false;
  if (!stored) {
    // Once more.
    uploaded_step_ = stored_step_;
    return;
  }
  stored_step_ = uploaded_step_;
  if (stored_step_ == start_.spec().steps()) stored_final_ = true;
}

void ModelWorker::UploadRefused() {
  uploading_ = false;
  stored_step_ = uploaded_step_;
}

void ModelWorker::Receive(const v1::CoordinatorMessage& message) {
  switch (message.kind_case()) {
    case v1::CoordinatorMessage::kStartGeneration:
      return OnStart(message.start_generation());
    case v1::CoordinatorMessage::kEndGeneration:
      return OnEnd(message.end_generation());
    case v1::CoordinatorMessage::kReleaseJob:
      return OnRelease(message.release_job().job());
    case v1::CoordinatorMessage::kPrepareJob:
      if (holding_) violations_.push_back(id_ + " was told to prepare a job while it held one");
      preparing_ = message.prepare_job().start();
      return;
    case v1::CoordinatorMessage::kRendezvous:
      return OnRendezvous(message.rendezvous());
    case v1::CoordinatorMessage::kAcknowledge: {
      const v1::Acknowledge& ack = message.acknowledge();
      if (!in_generation() || ack.job() != start_.job() || ack.generation() != start_.generation())
        return;
      committed_ = std::max(committed_, ack.committed_steps());
      pending_.erase(pending_.begin(), pending_.lower_bound(committed_));
      return;
    }
    default:
      return;
  }
}

void ModelWorker::OnStart(const v1::StartGeneration& start) {
  if (holding_ && start.job_uid() == start_.job_uid() && start.generation() <= start_.generation())
    return;
  if (holding_ && start.job_uid() != start_.job_uid()) {
    violations_.push_back(
        absl::StrCat(id_, " was given ", start.job(), " while it held ", start_.job()));
  }
  if (holding_ && !over_) violations_.push_back(id_ + " was in a generation that had not ended");
  start_ = start;
  preparing_.reset();
  holding_ = attached_ = true;
  over_ = joined_ = left_due_ = finished_ = uploading_ = stored_final_ = false;
  committed_ = start.committed_steps();
  uploaded_step_ = stored_step_ = 0;
  pending_.erase(pending_.begin(), pending_.lower_bound(committed_));
}

void ModelWorker::OnEnd(const v1::EndGeneration& end) {
  if (!holding_ || end.job() != start_.job() || end.generation() != start_.generation()) return;
  over_ = true;
  left_due_ = true;
  uploading_ = false;
  upload_.reset();
}

void ModelWorker::OnRelease(const std::string& job) {
  preparing_.reset();
  if (holding_ && start_.job() == job) {
    holding_ = has_state_ = joined_ = left_due_ = false;
    over_ = true;
    phases_ = 0;
    pending_.clear();
    upload_.reset();
    uploading_ = false;
  }
  v1::WorkerMessage message;
  message.mutable_released()->set_job(job);
  Say(std::move(message));
}

void ModelWorker::OnRendezvous(const v1::RendezvousEntry& entry) {
  if (!in_generation() || joined_ || entry.generation() != start_.generation()) return;
  if (entry.job() != start_.job() || entry.key() != kStateKey || start_.rank() == 0) return;
  v1::StepResults state;
  if (!state.ParseFromString(entry.value())) std::abort();
  // `generation` carries the donor's phases.
  BeginAt(state.generation() / 2);
  phases_ = state.generation();
  pending_.clear();
  for (const v1::StepResult& result : state.results()) pending_[result.step()] = result;
  joined_ = true;
}

// The state after `step` steps, as a checkpoint or a broadcast would bring it.
void ModelWorker::BeginAt(int64_t step) {
  hyper_ = HyperState();
  for (int64_t s = 0; s < step; ++s) ComputeStep(start_.spec(), s, &hyper_);
  has_state_ = true;
  phases_ = 2 * step;
}

void ModelWorker::JoinAsDonor() {
  if (start_.donor_holds_state() && !has_state_) {
    violations_.push_back(id_ + " was made the donor of a state that it does not hold");
    return;
  }
  if (!start_.donor_holds_state()) {
    BeginAt(StepOfCheckpoint(start_.checkpoint()));
    pending_.clear();
  }
  joined_ = true;
  v1::WorkerMessage message;
  v1::RendezvousEntry* entry = message.mutable_rendezvous();
  entry->set_job(start_.job());
  entry->set_generation(start_.generation());
  entry->set_key(kStateKey);
  v1::StepResults state;
  state.set_generation(phases_);
  std::vector<v1::StepResult> unacknowledged;
  for (const auto& [step, result] : pending_) {
    *state.add_results() = result;
    unacknowledged.push_back(result);
  }
  entry->set_value(state.SerializeAsString());
  Say(std::move(message));
  SendResults(unacknowledged);
}

void ModelWorker::SendResults(const std::vector<v1::StepResult>& results) {
  if (start_.rank() != 0 || !attached_ || results.empty()) return;
  v1::WorkerMessage message;
  message.mutable_results()->set_job(start_.job());
  message.mutable_results()->set_generation(start_.generation());
  for (const v1::StepResult& result : results) *message.mutable_results()->add_results() = result;
  Say(std::move(message));
}

void ModelWorker::SendFailed(const v1::StartGeneration& start, const std::string& message,
                             v1::FailureScope scope) {
  v1::WorkerMessage out;
  out.mutable_failed()->set_job(start.job());
  // A newcomer is in none yet.
  out.mutable_failed()->set_generation(preparing_.has_value() ? 0 : start.generation());
  out.mutable_failed()->mutable_error()->set_code(static_cast<int>(absl::StatusCode::kOutOfRange));
  out.mutable_failed()->mutable_error()->set_message(message);
  out.mutable_failed()->set_scope(scope);
  Say(std::move(out));
}

void ModelWorker::SendLeft(const std::string& reason, const std::vector<int>& suspects) {
  v1::WorkerMessage message;
  *message.mutable_generation_left()->mutable_held() = Held();
  message.mutable_generation_left()->set_reason(reason);
  for (const int rank : suspects) message.mutable_generation_left()->add_suspect_ranks(rank);
  Say(std::move(message));
}

void ModelWorker::ComputePhase() {
  ++phases_;
  if (phases_ % 2 != 0) return;
  const int64_t step = phases_ / 2 - 1;
  v1::StepResult result = ComputeStep(start_.spec(), step, &hyper_);
  if (corrupt_) result.set_state_checksum(result.state_checksum() ^ 1);
  pending_[step] = result;
  SendResults({result});
}

void ModelWorker::Upload() {
  uploading_ = true;
  uploaded_step_ = phases_ / 2;
  upload_.emplace();
  upload_->set_job(start_.job());
  upload_->set_job_uid(start_.job_uid());
  upload_->set_generation(start_.generation());
  upload_->set_step(uploaded_step_);
}

void ModelWorker::Finish() {
  if (start_.rank() != 0 || finished_ || uploading_ || !attached_) return;
  if (!stored_final_) return Upload();
  finished_ = true;
  v1::WorkerMessage message;
  v1::JobFinished* finished = message.mutable_finished();
  finished->set_job(start_.job());
  finished->set_generation(start_.generation());
  finished->mutable_evaluation()->set_step(phases_ / 2);
  (*finished->mutable_evaluation()->mutable_metrics())["score"] = Score(start_.spec(), phases_ / 2);
  finished->set_parameters_sha256(std::string(64, 'a'));
  finished->set_hyperparameters_sha256(std::string(64, 'b'));
  Say(std::move(message));
}

void ModelWorker::Work() {
  if (preparing_.has_value()) {
    const v1::StartGeneration start = *preparing_;
    if (!unprepared_.empty()) {
      SendFailed(start, unprepared_, v1::JOB_HERE);
    } else {
      v1::WorkerMessage message;
      message.mutable_prepared()->set_job(start.job());
      message.mutable_prepared()->set_job_uid(start.job_uid());
      Say(std::move(message));
    }
    preparing_.reset();
    return;
  }
  if (!holding_) return;
  if (left_due_) {
    left_due_ = false;
    return SendLeft("", {});
  }
  if (over_) return;
  if (!leave_reason_.empty()) {
    over_ = true;
    if (std::exchange(lose_state_, false)) {
      has_state_ = false;
      phases_ = 0;
      pending_.clear();
    }
    return SendLeft(std::exchange(leave_reason_, ""), std::exchange(suspects_, {}));
  }
  if (!fail_message_.empty()) {
    over_ = true;
    return SendFailed(start_, std::exchange(fail_message_, ""), fail_scope_);
  }
  if (!joined_ && !unprepared_.empty()) {
    over_ = true;
    return SendFailed(start_, unprepared_, v1::JOB_HERE);
  }
  if (!joined_) {
    if (start_.rank() == 0) JoinAsDonor();
    return;
  }
  const v1::JobSpec& spec = start_.spec();
  const int64_t step = phases_ / 2;
  if (step >= spec.steps()) {
    if (committed_ >= spec.steps()) Finish();
    return;
  }
  const bool due = IsCheckpointStep(spec, step) && step > uploaded_step_ && phases_ % 2 == 0;
  if (start_.rank() == 0 && due && committed_ >= step && attached_ && !uploading_) {
    return Upload();
  }
  const bool keeps = IsKeptStep(spec, step) && stored_step_ != step && phases_ % 2 == 0;
  if (start_.rank() == 0 && keeps) return;
  if (step < committed_ + spec.pipeline_depth()) ComputePhase();
}

}  // namespace evograd::testing
