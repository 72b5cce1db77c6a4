#include "tests/sim/sim_worker.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/limits.h"
#include "server/core/testing/model_worker.h"

namespace evograd::sim {
namespace {

v1::Hello MakeHello(const std::string& id) {
  v1::Hello hello;
  hello.set_protocol_version(limits::kProtocolVersion);
  hello.set_worker_id(id);
  hello.set_device_kind(v1::CPU);
  hello.set_host("host");
  hello.set_process_id(static_cast<int64_t>(std::hash<std::string>()(id) % 30'000));
  return hello;
}

}  // namespace

SimWorker::SimWorker(std::string id, Common* common)
    : id_(std::move(id)), common_(*common), machine_(MakeHello(id_)) {}

SimWorker::~SimWorker() { Close(); }

void SimWorker::Handle(agent::Input input) {
  for (const agent::Action& action : machine_.Handle(std::move(input))) {
    std::visit([this](const auto& a) { Do(a); }, action);
  }
}

void SimWorker::StreamUp() {
  output_.clear();
  Handle(agent::StreamUp{});
}

void SimWorker::StreamDown() {
  output_.clear();
  Handle(agent::StreamDown{});
}

void SimWorker::Do(const agent::RunEngine& action) {
  running_ = action;
  stopped_ = false;
  std::vector<v1::StepResult>& pending = state_.pending;
  while (!pending.empty() && pending.front().step() < action.forget_before) {
    pending.erase(pending.begin());
  }
  if (action.task == agent::EngineTask::kJoin) {
    start_ = action.start;
    open_ = true;
    meeting().size = start_.size();
    meeting().here.insert(start_.rank());
  }
  if (action.task == agent::EngineTask::kStep) {
    meeting().began[state_.phases / 2].insert(start_.rank());
  }
}

void SimWorker::Work(bool broken) {
  if (!running_) return;
  agent::EngineOutcome outcome;
  std::optional<absl::Status> status = absl::OkStatus();
  switch (running_->task) {
    case agent::EngineTask::kPrepare:
      uid_ = running_->start.job_uid();
      spec_ = running_->start.spec();
      if (stopped_) {
        status = absl::CancelledError("stopped");
        uid_.clear();
      }
      break;
    case agent::EngineTask::kJoin:
      status = Join(&outcome);
      break;
    case agent::EngineTask::kStep:
      status = Step(&outcome);
      break;
    case agent::EngineTask::kSerialise:
      serialised_ = state_;
      break;
    case agent::EngineTask::kEvaluate:
      outcome.evaluation.set_step(state_.phases / 2);
      outcome.parameters_sha256 = std::string(64, 'a');
      outcome.hyperparameters_sha256 = std::string(64, 'b');
      break;
    case agent::EngineTask::kLeave:
      Close();
      break;
    case agent::EngineTask::kDrop:
      Close();
      uid_.clear();
      has_state_ = false;
      state_ = EngineState();
      break;
  }
  if (!status && stopped_) status = absl::AbortedError("aborted");
  if (!status && !meeting().gone.empty()) {
    status = absl::UnavailableError(absl::StrCat("rank ", *meeting().gone.begin(), " is gone"));
  }
  if (!status && broken) status = absl::DeadlineExceededError("the collective took too long");
  if (!status) return;
  running_.reset();
  outcome.status = *status;
  outcome.has_state = has_state_;
  outcome.phases = has_state_ ? state_.phases : 0;
  Handle(std::move(outcome));
}

std::optional<absl::Status> SimWorker::Join(agent::EngineOutcome* outcome) {
  Meeting& group = meeting();
  if (start_.rank() == 0 && !group.donated) {
    if (!start_.donor_holds_state()) {
      state_ = EngineState();
      if (!start_.checkpoint().empty()) {
        const auto found = common_.checkpoints.find(start_.checkpoint());
        if (found == common_.checkpoints.end()) return absl::UnavailableError("no checkpoint");
        state_ = found->second;
      }
      has_state_ = true;
    }
    group.donated = state_;
  }
  if (!group.donated || static_cast<int>(group.here.size()) < group.size) return std::nullopt;
  state_ = *group.donated;
  has_state_ = true;
  if (start_.rank() == 0) outcome->results = state_.pending;
  return absl::OkStatus();
}

std::optional<absl::Status> SimWorker::Step(agent::EngineOutcome* outcome) {
  const int64_t step = state_.phases / 2;
  if (static_cast<int>(meeting().began[step].size()) < meeting().size) return std::nullopt;
  // One phase after the other: the step may break between them.
  if (state_.phases % 2 == 0) {
    ++state_.phases;
    return std::nullopt;
  }
  ++state_.phases;
  const v1::StepResult result = testing::ComputeStep(spec_, step, &state_.hyper);
  state_.pending.push_back(result);
  if (start_.rank() == 0) outcome->results.push_back(result);
  return absl::OkStatus();
}

void SimWorker::Close() {
  if (open_) meeting().gone.insert(start_.rank());
  open_ = false;
}

void SimWorker::Do(const agent::StartUpload& action) {
  upload_ = action.header;
  upload_->set_size_bytes(1000);
  // Like a hash: of what is pending too.
  upload_->set_sha256(absl::StrFormat("%032x%016x%016x", serialised_.pending.size(),
                                      Checksum(serialised_.hyper), serialised_.phases));
  upload_name_ = absl::StrCat(upload_->job(), "/checkpoints/", upload_->step());
  upload_stopped_ = false;
}

std::optional<v1::UploadCheckpointRequest> SimWorker::TakeUpload() {
  if (!upload_) return std::nullopt;
  if (upload_stopped_) {
    upload_.reset();
    Handle(agent::UploadOutcome{absl::CancelledError("stopped")});
    return std::nullopt;
  }
  uploading_ = true;
  return std::exchange(upload_, std::nullopt);
}

void SimWorker::UploadDone(const absl::Status& status) {
  uploading_ = false;
  if (status.ok()) common_.checkpoints[upload_name_] = serialised_;
  Handle(agent::UploadOutcome{status});
}

}  // namespace evograd::sim
