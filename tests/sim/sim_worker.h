// A worker of the simulation: the agent's real machine over an engine and a stream that do one
// thing whenever the simulation says so. The engine's problem is the coordinator tests' made-up one
// (ComputeStep); its collectives meet in a Meeting.
//
// Threads: one.
#ifndef EVOGRAD_TESTS_SIM_SIM_WORKER_H_
#define EVOGRAD_TESTS_SIM_SIM_WORKER_H_

#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "algo/advance.h"
#include "proto/evograd/v1/worker.pb.h"
#include "worker/core/agent_machine.h"

namespace evograd::sim {

struct EngineState {
  int64_t phases = 0;
  HyperState hyper;
  std::vector<v1::StepResult> pending;
};

// The collectives of one generation.
struct Meeting {
  int size = 0;
  std::set<int> here;
  // Ranks that closed their communicator, or died.
  std::set<int> gone;
  std::optional<EngineState> donated;
  // By step: the ranks that began it.
  std::map<int64_t, std::set<int>> began;
};

// What all workers of a simulation share.
struct Common {
  std::mt19937_64 random;
  // By job uid and generation.
  std::map<std::pair<std::string, int64_t>, Meeting> meetings;
  // Checkpoints by name.
  std::map<std::string, EngineState> checkpoints;
};

class SimWorker {
 public:
  SimWorker(std::string id, Common* common);
  // As if its process were killed.
  ~SimWorker();

  const std::string& id() const { return id_; }

  void StreamUp();
  void StreamDown();
  void Receive(const v1::CoordinatorMessage& message) { Handle(message); }
  std::vector<v1::WorkerMessage> TakeOutput() { return std::exchange(output_, {}); }

  // The engine's task ends, if it can: its collectives have met, or something is wrong. `broken`:
  // its collective fails first.
  void Work(bool broken);
  // An upload that it wants to make; the caller answers by UploadDone.
  std::optional<v1::UploadCheckpointRequest> TakeUpload();
  void UploadDone(const absl::Status& status);

  bool idle() const { return !running_ && !upload_ && !uploading_; }
  bool holds_engine() const { return !uid_.empty(); }

 private:
  void Handle(agent::Input input);
  void Do(const agent::Send& action) { output_.push_back(action.message); }
  void Do(const agent::RunEngine& action);
  void Do(const agent::StopEngine&) { stopped_ = true; }
  void Do(const agent::StartUpload& action);
  void Do(const agent::StopUpload&) { upload_stopped_ = true; }
  void Do(const agent::OpenRendezvous&) {}
  void Do(const agent::DeliverRendezvous&) {}
  void Do(const agent::CloseRendezvous&) {}
  void Do(const agent::Say&) {}

  // Each answers whether the task has ended, with its outcome's status.
  std::optional<absl::Status> Join(agent::EngineOutcome* outcome);
  std::optional<absl::Status> Step(agent::EngineOutcome* outcome);
  void Close();
  Meeting& meeting() { return common_.meetings[{start_.job_uid(), start_.generation()}]; }

  const std::string id_;
  Common& common_;
  agent::AgentMachine machine_;
  std::vector<v1::WorkerMessage> output_;
  std::optional<agent::RunEngine> running_;
  bool stopped_ = false;
  // Of the last join.
  v1::StartGeneration start_;
  bool open_ = false;
  // The engine.
  std::string uid_;
  v1::JobSpec spec_;
  bool has_state_ = false;
  EngineState state_;
  EngineState serialised_;
  std::optional<v1::UploadCheckpointRequest> upload_;
  bool uploading_ = false;
  bool upload_stopped_ = false;
  std::string upload_name_;
};

}  // namespace evograd::sim

#endif  // EVOGRAD_TESTS_SIM_SIM_WORKER_H_
