#include "worker/agent/testing/puppet_engine.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd::agent {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);
// The cancel flag tells nobody that it changed.
constexpr absl::Duration kLookAtFlag = absl::Milliseconds(2);

}  // namespace

class Puppet::PuppetEngine : public Engine {
 public:
  PuppetEngine(Puppet* puppet, const CancelFlag* cancelled)
      : puppet_(*puppet), cancelled_(*cancelled) {
    absl::MutexLock lock(&puppet_.mutex_);
    ++puppet_.engines_;
  }
  ~PuppetEngine() override {
    absl::MutexLock lock(&puppet_.mutex_);
    --puppet_.engines_;
  }

  absl::Status Initialise() override {
    EVOGRAD_RETURN_IF_ERROR(puppet_.Stand("initialise", cancelled_));
    state_.Clear();
    pending_.clear();
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Serialise() const override {
    EVOGRAD_RETURN_IF_ERROR(puppet_.Stand("serialise", cancelled_));
    return Encode();
  }

  absl::Status Restore(const std::string& state) override {
    EVOGRAD_RETURN_IF_ERROR(puppet_.Stand("restore", cancelled_));
    return Decode(state);
  }

  absl::Status Synchronise(Communicator& communicator) override {
    EVOGRAD_RETURN_IF_ERROR(puppet_.Stand("synchronise", cancelled_));
    std::string bytes = Encode();
    int64_t size = static_cast<int64_t>(bytes.size());
    EVOGRAD_RETURN_IF_ERROR(communicator.Broadcast(&size, sizeof size, 0));
    bytes.resize(size);
    EVOGRAD_RETURN_IF_ERROR(communicator.Broadcast(bytes.data(), bytes.size(), 0));
    return Decode(bytes);
  }

  int64_t phases() const override { return state_.generation(); }

  absl::Status RunStep(Communicator& communicator) override {
    EVOGRAD_RETURN_IF_ERROR(puppet_.Stand("step", cancelled_));
    const int64_t step = completed_steps();
    std::vector<int64_t> steps(communicator.size());
    EVOGRAD_RETURN_IF_ERROR(communicator.AllGather(&step, steps.data(), sizeof step));
    for (const int64_t other : steps) {
      if (other != step) return absl::InternalError("the ranks are in different steps");
    }
    v1::StepResult result;
    result.set_step(step);
    result.set_state_checksum(1000 + step);
    result.mutable_metrics()->set_step(step);
    pending_.push_back(result);
    state_.set_generation(2 * (step + 1));
    return absl::OkStatus();
  }

  const std::vector<v1::StepResult>& pending() const override { return pending_; }

  void Forget(int64_t committed_steps) override {
    while (!pending_.empty() && pending_.front().step() < committed_steps) {
      pending_.erase(pending_.begin());
    }
  }

  absl::StatusOr<v1::Evaluation> Evaluate() override {
    EVOGRAD_RETURN_IF_ERROR(puppet_.Stand("evaluate", cancelled_));
    v1::Evaluation evaluation;
    evaluation.set_step(completed_steps());
    return evaluation;
  }

  Fingerprint fingerprint() const override {
    return {absl::StrCat("parameters after ", completed_steps()),
            absl::StrCat("hyperparameters after ", completed_steps())};
  }

 private:
  std::string Encode() const {
    v1::StepResults all = state_;
    for (const v1::StepResult& result : pending_) *all.add_results() = result;
    return all.SerializeAsString();
  }

  absl::Status Decode(const std::string& bytes) {
    v1::StepResults all;
    if (!all.ParseFromString(bytes)) return absl::DataLossError("not a puppet's state");
    pending_.assign(all.results().begin(), all.results().end());
    all.clear_results();
    state_ = all;
    return absl::OkStatus();
  }

  Puppet& puppet_;
  const CancelFlag& cancelled_;
  // `generation` counts the phases.
  v1::StepResults state_;
  std::vector<v1::StepResult> pending_;
};

EngineFactory Puppet::factory() {
  return [this](const v1::JobSpec& spec, const std::string& job_uid, const EngineOptions& options,
                const CancelFlag& cancelled) -> absl::StatusOr<std::unique_ptr<Engine>> {
    EVOGRAD_RETURN_IF_ERROR(Stand("make", cancelled));
    return std::unique_ptr<Engine>(new PuppetEngine(this, &cancelled));
  };
}

absl::Status Puppet::Stand(const std::string& call, const CancelFlag& cancelled) {
  absl::MutexLock lock(&mutex_);
  ++calls_[call];
  standing_in_ = call;
  const auto let = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return everything_ || always_.count(call) > 0 || !let_[call].empty();
  };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&let), kLookAtFlag)) {
    if (cancelled) {
      standing_in_.clear();
      return absl::CancelledError("the puppet was told to stop");
    }
  }
  standing_in_.clear();
  ++returns_[call];
  if (let_[call].empty()) return absl::OkStatus();
  const absl::Status status = let_[call].front();
  let_[call].pop_front();
  return status;
}

bool Puppet::WaitForCall(const std::string& call) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return standing_in_ == call; };
  return mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience);
}

bool Puppet::WaitForReturns(const std::string& call, int count) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return returns_[call] >= count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience);
}

void Puppet::Let(const std::string& call, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  let_[call].push_back(std::move(status));
}

void Puppet::LetAlways(const std::string& call) {
  absl::MutexLock lock(&mutex_);
  always_.insert(call);
}

void Puppet::LetEverything() {
  absl::MutexLock lock(&mutex_);
  everything_ = true;
}

int Puppet::calls(const std::string& call) const {
  absl::MutexLock lock(&mutex_);
  const auto found = calls_.find(call);
  return found == calls_.end() ? 0 : found->second;
}

int Puppet::engines() const {
  absl::MutexLock lock(&mutex_);
  return engines_;
}

}  // namespace evograd::agent
