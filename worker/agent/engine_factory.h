// How the agent comes to an engine and a communicator: functions, so that it links neither LibTorch
// nor a transport, and tests give it others.
#ifndef EVOGRAD_WORKER_AGENT_ENGINE_FACTORY_H_
#define EVOGRAD_WORKER_AGENT_ENGINE_FACTORY_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/collective/communicator.h"
#include "worker/engine/engine.h"

namespace evograd::agent {

// As MakeEngine in worker/engine/engine.h.
using EngineFactory = std::function<absl::StatusOr<std::unique_ptr<Engine>>(
    const v1::JobSpec& spec, const std::string& job_uid, const EngineOptions& options,
    const CancelFlag& cancelled)>;

// ABORTED when the rendezvous ends first; otherwise a communicator's errors.
using CommunicatorFactory = std::function<absl::StatusOr<std::unique_ptr<Communicator>>(
    const CommunicatorOptions& options, Rendezvous& rendezvous)>;

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_ENGINE_FACTORY_H_
