// The torch-free face of the engine: what the agent drives. One engine computes one job on one
// device.
//
// A meta-step is a fixed sequence of at most two *phases*, each ending in an update of local state
// that no failure can interrupt: between a call's start and its return the state moves on by whole
// phases only. So after a collective failed, the state is good, and `phases()` says where it
// stands: 2 * step, or 2 * step + 1 between the two updates. A step whose estimator updates
// everything at once goes from 2 * step to 2 * step + 2.
//
// Threads: all calls from one thread. A blocked call ends when its communicator is aborted;
// MakeEngine, Evaluate and a step end with CANCELLED at their next look at the `CancelFlag`.
//
// Errors: INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, DATA_LOSS, OUT_OF_RANGE (NaN or
// infinity, naming the tensor and the step), RESOURCE_EXHAUSTED (memory) and INTERNAL (a defect)
// are of this job here: another worker may do it, but for OUT_OF_RANGE. A step that ends with
// RanksDisagreeError (disagreement.h) leaves a state that is not to be used. UNAVAILABLE,
// DEADLINE_EXCEEDED and ABORTED come from the communicator: the generation ends.
#ifndef EVOGRAD_WORKER_ENGINE_ENGINE_H_
#define EVOGRAD_WORKER_ENGINE_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/collective/communicator.h"

namespace evograd {

using CancelFlag = std::atomic<bool>;

class Engine {
 public:
  struct Fingerprint {
    std::string parameters_sha256;
    std::string hyperparameters_sha256;
  };

  virtual ~Engine() = default;

  // The initial state, a pure function of the job's seed.
  virtual absl::Status Initialise() = 0;

  // Everything a step depends on, un-acknowledged results included, as bytes that Restore takes
  // (also on another machine of the same byte order). The format is versioned and carries its own
  // SHA-256: DATA_LOSS when it does not fit, FAILED_PRECONDITION when it is another job's or
  // version's.
  virtual absl::StatusOr<std::string> Serialise() const = 0;
  virtual absl::Status Restore(const std::string& state) = 0;

  // Brings every rank to the state of rank 0. Collective.
  virtual absl::Status Synchronise(Communicator& communicator) = 0;

  virtual int64_t phases() const = 0;
  int64_t completed_steps() const { return phases() / 2; }

  // The rest of step completed_steps(); its result joins `pending()`. Collective. Step 0's result
  // also carries the initial hyperparameters, from which the coordinator's own state begins, and
  // their names where they fit a line.
  virtual absl::Status RunStep(Communicator& communicator) = 0;

  // Results of completed steps that were not forgotten yet, oldest first.
  virtual const std::vector<v1::StepResult>& pending() const = 0;
  // Forgets results of steps before `committed_steps`.
  virtual void Forget(int64_t committed_steps) = 0;

  // Metrics of the state as it stands, on this rank alone.
  virtual absl::StatusOr<v1::Evaluation> Evaluate() = 0;
  virtual Fingerprint fingerprint() const = 0;
};

// Where the engine computes: "cpu" or "cuda:N".
struct EngineOptions {
  std::string device = "cpu";
};

// Reads the job's data and builds its model; `spec` is resolved (spec/resolve.h).
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const v1::JobSpec& spec,
                                                   const std::string& job_uid,
                                                   const EngineOptions& options,
                                                   const CancelFlag& cancelled);

// One meta-step of `spec` from its initial state, in full, to a safetensors file; see
// worker/engine/hypergradient_dump.h for the names.
absl::Status WriteHypergradient(const v1::JobSpec& spec, const EngineOptions& options,
                                const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_ENGINE_H_
