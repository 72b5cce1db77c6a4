#include "worker/agent/testing/test_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"

namespace evograd::agent {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

}  // namespace

CommunicatorFactory GroupMaker::factory() {
  return [this](const CommunicatorOptions& options,
                Rendezvous& rendezvous) -> absl::StatusOr<std::unique_ptr<Communicator>> {
    if (options.rank == 0) {
      absl::MutexLock lock(&mutex_);
      const std::string name = absl::StrCat(groups_.size());
      groups_[name] = InProcessCommunicator::CreateGroup(options.size, options.timeout);
      EVOGRAD_RETURN_IF_ERROR(rendezvous.Put("group", name));
    }
    EVOGRAD_ASSIGN_OR_RETURN(const std::string name,
                             rendezvous.Wait("group", absl::Now() + options.rendezvous_timeout));
    absl::MutexLock lock(&mutex_);
    return std::unique_ptr<Communicator>(std::move(groups_[name][options.rank]));
  };
}

TestWorker::TestWorker(const std::string& id, const std::string& coordinator, GroupMaker* groups,
                       const std::string& host) {
  AgentOptions options;
  options.coordinator = coordinator;
  options.hello.set_protocol_version(1);
  options.hello.set_worker_id(id);
  options.hello.set_device_kind(v1::CPU);
  options.hello.set_host(host);
  options.make_engine = puppet_.factory();
  options.make_communicator = groups->factory();
  options.reconnect_min = absl::Milliseconds(5);
  options.reconnect_max = absl::Milliseconds(20);
  options.say = [this](const std::string& line) {
    absl::MutexLock lock(&mutex_);
    lines_.push_back(line);
  };
  options.wait_to_dial = [this](absl::Duration pause) {
    {
      absl::MutexLock lock(&mutex_);
      dial_pauses_.push_back(pause);
    }
    return stopped_.WaitFor(std::min(pause, absl::Duration(absl::Milliseconds(20))));
  };
  agent_ = std::make_unique<Agent>(std::move(options));
  thread_ = std::thread([this] { end_ = agent_->Run(); });
}

TestWorker::~TestWorker() { Stop().IgnoreError(); }

absl::Status TestWorker::Stop() {
  stopped_.Set();
  if (agent_ != nullptr) agent_->Stop();
  return Wait();
}

absl::Status TestWorker::Wait() {
  if (thread_.joinable()) thread_.join();
  agent_ = nullptr;
  return end_;
}

std::vector<absl::Duration> TestWorker::dial_pauses() {
  absl::MutexLock lock(&mutex_);
  return dial_pauses_;
}

bool TestWorker::WaitForLine(const std::string& text) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::any_of(lines_.begin(), lines_.end(),
                       [&](const std::string& line) { return absl::StrContains(line, text); });
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience);
}

}  // namespace evograd::agent
