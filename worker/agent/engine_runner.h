// Carries out the engine's tasks: the one place where engine and communicator live.
//
// Threads: Run by the engine thread alone; Stop and Rearm by any, Rearm never while a task runs;
// TakeState between tasks that serialise, leave or drop.
#ifndef EVOGRAD_WORKER_AGENT_ENGINE_RUNNER_H_
#define EVOGRAD_WORKER_AGENT_ENGINE_RUNNER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "worker/agent/engine_factory.h"
#include "worker/agent/rendezvous_table.h"
#include "worker/core/inputs.h"

namespace evograd::agent {

class EngineRunner {
 public:
  struct Options {
    EngineFactory make_engine;
    CommunicatorFactory make_communicator;
    EngineOptions engine;
    // The address at which a group's ranks dial this one, where the communicator needs one.
    std::function<absl::StatusOr<std::string>(bool several_hosts)> address;
    int cuda_device = 0;
    // Tells the other ranks of a generation.
    std::function<void(int64_t generation, const std::string& key, const std::string& value)> put;
    // A checkpoint's bytes.
    std::function<absl::StatusOr<std::string>(const std::string& name)> download;
  };

  // `table` outlives it.
  EngineRunner(Options options, RendezvousTable* table);

  EngineOutcome Run(const RunEngine& action);

  // The task that runs ends soon; so do those to come before Rearm.
  void Stop();
  void Rearm() { cancelled_ = false; }

  // The bytes of the last kSerialise, once; null where there are none.
  std::shared_ptr<const std::string> TakeState() { return std::move(state_); }

 private:
  absl::Status Perform(const RunEngine& action, EngineOutcome* outcome);
  absl::Status Prepare(const v1::StartGeneration& start);
  absl::Status Join(const v1::StartGeneration& start, EngineOutcome* outcome);
  // Rank 0, where nobody holds state.
  absl::Status MakeState(const std::string& checkpoint);
  absl::Status Connect(const v1::StartGeneration& start);
  absl::Status Step(EngineOutcome* outcome);
  absl::Status Serialise();
  absl::Status Evaluate(EngineOutcome* outcome);
  void Leave();
  void Drop();

  const Options options_;
  RendezvousTable* const table_;
  CancelFlag cancelled_{false};
  std::unique_ptr<Engine> engine_;
  bool has_state_ = false;
  std::shared_ptr<const std::string> state_;
  // The engine thread alone changes the pointer, and holds the mutex meanwhile; Stop reads it.
  absl::Mutex mutex_;
  std::unique_ptr<Communicator> communicator_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_ENGINE_RUNNER_H_
