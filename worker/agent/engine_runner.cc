#include "worker/agent/engine_runner.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "worker/collective/suspects.h"
#include "worker/engine/disagreement.h"

namespace evograd::agent {

EngineRunner::EngineRunner(Options options, RendezvousTable* table, EngineWatch* watch)
    : options_(std::move(options)), table_(table), watch_(watch) {}

std::string EngineRunner::NameOf(const RunEngine& action) const {
  switch (action.task) {
    case EngineTask::kPrepare:
      return "reading the job's data";
    case EngineTask::kJoin:
      return "joining the group";
    case EngineTask::kStep:
      return absl::StrCat("step ", engine_->completed_steps());
    case EngineTask::kSerialise:
      return "making a checkpoint";
    case EngineTask::kEvaluate:
      return "evaluating at the end";
    case EngineTask::kLeave:
      return "leaving the group";
    case EngineTask::kDrop:
      return "dropping the job";
  }
  return "";
}

EngineOutcome EngineRunner::Run(const RunEngine& action) {
  if (engine_ != nullptr) engine_->Forget(action.forget_before);
  EngineOutcome outcome;
  const auto begin = std::chrono::steady_clock::now();
  watch_->Does(NameOf(action), begin);
  outcome.status = Perform(action, &outcome);
  const auto end = std::chrono::steady_clock::now();
  watch_->Does("", end);
  outcome.seconds = std::chrono::duration<double>(end - begin).count();
  outcome.ranks_disagree = RanksDisagree(outcome.status);
  outcome.suspects = Suspects(outcome.status);
  outcome.has_state = has_state_;
  outcome.phases = has_state_ ? engine_->phases() : 0;
  return outcome;
}

absl::Status EngineRunner::Perform(const RunEngine& action, EngineOutcome* outcome) {
  switch (action.task) {
    case EngineTask::kPrepare:
      return Prepare(action.start);
    case EngineTask::kJoin:
      return Join(action.start, outcome);
    case EngineTask::kStep:
      return Step(outcome);
    case EngineTask::kSerialise:
      return Serialise();
    case EngineTask::kEvaluate:
      return Evaluate(outcome);
    case EngineTask::kLeave:
      Leave();
      return absl::OkStatus();
    case EngineTask::kDrop:
      Drop();
      return absl::OkStatus();
  }
  return absl::InternalError("an engine task of no known kind");
}

absl::Status EngineRunner::Prepare(const v1::StartGeneration& start) {
  EVOGRAD_ASSIGN_OR_RETURN(
      engine_, options_.make_engine(start.spec(), start.job_uid(), options_.engine, cancelled_));
  return absl::OkStatus();
}

absl::Status EngineRunner::Join(const v1::StartGeneration& start, EngineOutcome* outcome) {
  // Before the others are met: their collectives have a deadline, the meeting has a long one.
  if (start.rank() == 0 && !start.donor_holds_state()) {
    EVOGRAD_RETURN_IF_ERROR(MakeState(start.checkpoint()));
  }
  const absl::Status connected = Connect(start);
  // Its address or device does for no other job either.
  outcome->any_job = !connected.ok();
  EVOGRAD_RETURN_IF_ERROR(connected);
  EVOGRAD_RETURN_IF_ERROR(engine_->Synchronise(*communicator_));
  has_state_ = true;
  if (start.rank() == 0) outcome->results = engine_->pending();
  return absl::OkStatus();
}

absl::Status EngineRunner::MakeState(const std::string& checkpoint) {
  has_state_ = false;
  if (checkpoint.empty()) {
    EVOGRAD_RETURN_IF_ERROR(engine_->Initialise());
  } else {
    watch_->Fetches(true);
    const absl::StatusOr<std::string> bytes = options_.download(checkpoint);
    watch_->Fetches(false);
    if (!bytes.ok()) {
      // The coordinator may have another one, and forms the next generation from it.
      return absl::UnavailableError(
          absl::StrCat("checkpoint ", checkpoint,
                       " could not be fetched: ", std::string(bytes.status().message())));
    }
    EVOGRAD_RETURN_IF_ERROR(engine_->Restore(*bytes));
  }
  has_state_ = true;
  return absl::OkStatus();
}

absl::Status EngineRunner::Connect(const v1::StartGeneration& start) {
  CommunicatorOptions options;
  options.rank = start.rank();
  options.size = start.size();
  // A rank may have to wait for what has no bound, such as an evaluation of another; the
  // coordinator watches whether anything moves.
  options.timeout = absl::Milliseconds(limits::kCollectiveCeilingMs);
  options.rendezvous_timeout = absl::Milliseconds(limits::kRendezvousTimeoutMs);
  if (options_.address != nullptr && start.size() > 1) {
    EVOGRAD_ASSIGN_OR_RETURN(options.interface_address, options_.address(start.several_hosts()));
  }
  options.cuda_device = options_.cuda_device;
  const int64_t generation = start.generation();
  StreamRendezvous rendezvous(table_, generation,
                              [&](const std::string& key, const std::string& value) {
                                options_.put(generation, key, value);
                              });
  watch_->Waits(std::chrono::steady_clock::now());
  absl::StatusOr<std::unique_ptr<Communicator>> communicator =
      options_.make_communicator(options, rendezvous);
  watch_->GoesOn(std::chrono::steady_clock::now());
  EVOGRAD_RETURN_IF_ERROR(communicator.status());
  absl::MutexLock lock(&mutex_);
  communicator_ = Watched(*std::move(communicator), watch_);
  // Stop may have come before there was anything to abort.
  if (cancelled_) communicator_->Abort();
  return absl::OkStatus();
}

absl::Status EngineRunner::Step(EngineOutcome* outcome) {
  const int64_t step = engine_->completed_steps();
  const absl::Status status = engine_->RunStep(*communicator_);
  if (status.ok() && communicator_->rank() == 0) {
    for (const v1::StepResult& result : engine_->pending()) {
      if (result.step() >= step) outcome->results.push_back(result);
    }
  }
  return status;
}

absl::Status EngineRunner::Serialise() {
  EVOGRAD_ASSIGN_OR_RETURN(std::string bytes, engine_->Serialise());
  state_ = std::make_shared<const std::string>(std::move(bytes));
  return absl::OkStatus();
}

absl::Status EngineRunner::Evaluate(EngineOutcome* outcome) {
  EVOGRAD_ASSIGN_OR_RETURN(outcome->evaluation, engine_->Evaluate());
  const Engine::Fingerprint fingerprint = engine_->fingerprint();
  outcome->parameters_sha256 = fingerprint.parameters_sha256;
  outcome->hyperparameters_sha256 = fingerprint.hyperparameters_sha256;
  return absl::OkStatus();
}

void EngineRunner::Leave() {
  state_ = nullptr;
  std::unique_ptr<Communicator> communicator;
  absl::MutexLock lock(&mutex_);
  communicator.swap(communicator_);
}

void EngineRunner::Drop() {
  Leave();
  engine_ = nullptr;
  has_state_ = false;
}

void EngineRunner::Stop() {
  cancelled_ = true;
  absl::MutexLock lock(&mutex_);
  if (communicator_ != nullptr) communicator_->Abort();
}

}  // namespace evograd::agent
