// What comes into the agent's machine, and what it asks to be done.
#ifndef EVOGRAD_WORKER_CORE_INPUTS_H_
#define EVOGRAD_WORKER_CORE_INPUTS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "proto/evograd/v1/job.pb.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd::agent {

// What the engine thread does, one at a time.
enum class EngineTask {
  kPrepare,    // reads the job's data and builds its model; once per job
  kJoin,       // finds the other ranks and brings them to the donor's state
  kStep,       // the rest of one meta-step
  kSerialise,  // keeps the state's bytes for an upload
  kEvaluate,   // the job's final figures
  kLeave,      // closes the communicator; the state stays
  kDrop,       // frees everything of the job
};

// ---- In --------------------------------------------------------------------------------------

// A new stream is open and nothing was written to it; it is lost. They alternate.
struct StreamUp {};
struct StreamDown {};

// The task that runs has ended.
struct EngineOutcome {
  absl::Status status;
  // What the engine holds now, also after an error.
  bool has_state = false;
  int64_t phases = 0;
  // Of rank 0: after kJoin all results that are not forgotten, after kStep the new one.
  std::vector<v1::StepResult> results;
  // How long it took.
  double seconds = 0;
  // Of an error: whether the worker would meet it in any job; whether it is that ranks hold
  // different parameters; the ranks that it could not reach, waited for in vain, or that differ
  // from most.
  bool any_job = false;
  bool ranks_disagree = false;
  std::vector<int> suspects;
  // Of kEvaluate.
  v1::Evaluation evaluation;
  std::string parameters_sha256;
  std::string hyperparameters_sha256;
};

// The upload that runs has ended; CANCELLED after StopUpload.
struct UploadOutcome {
  absl::Status status;
};

// The upload that runs does not get on, and goes on trying.
struct UploadTrouble {
  std::string text;
};

// The checkpoint that the running task needs cannot be fetched, and it goes on trying; empty: it
// was fetched after all.
struct RestoreTrouble {
  std::string text;
};

// The engine thread wants the other ranks of `generation` to know.
struct RendezvousPut {
  int64_t generation = 0;
  std::string key;
  std::string value;
};

using Input = std::variant<StreamUp, StreamDown, v1::CoordinatorMessage, EngineOutcome,
                           UploadOutcome, UploadTrouble, RestoreTrouble, RendezvousPut>;

// ---- Out, to be carried out in order, without waiting for anything
// -------------------------------

struct Send {
  v1::WorkerMessage message;
};

// Never while a task runs.
struct RunEngine {
  EngineTask task = EngineTask::kStep;
  // Of kPrepare and kJoin.
  v1::StartGeneration start;
  // Results of steps before this number are forgotten first.
  int64_t forget_before = 0;
};

// The running task is to end soon, whatever it waits for.
struct StopEngine {};

// Entries of this generation come from now on; those of the one before are thrown away.
struct OpenRendezvous {
  int64_t generation = 0;
};
struct DeliverRendezvous {
  v1::RendezvousEntry entry;
};
// Who waits for an entry is told ABORTED.
struct CloseRendezvous {};

// Sends the bytes of the last kSerialise; `header` lacks what only they tell. Tries until it is
// stored, refused, or stopped. Never while an upload runs.
struct StartUpload {
  v1::UploadCheckpointRequest header;
};
struct StopUpload {};

// One line for a person.
struct Say {
  std::string text;
};

using Action = std::variant<Send, RunEngine, StopEngine, OpenRendezvous, DeliverRendezvous,
                            CloseRendezvous, StartUpload, StopUpload, Say>;

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_CORE_INPUTS_H_
