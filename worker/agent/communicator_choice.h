// Which communicator a worker uses: none needed alone, NCCL on CUDA devices, Gloo on CPUs. The
// coordinator makes groups of one kind of device only.
#ifndef EVOGRAD_WORKER_AGENT_COMMUNICATOR_CHOICE_H_
#define EVOGRAD_WORKER_AGENT_COMMUNICATOR_CHOICE_H_

#include "worker/agent/engine_factory.h"

namespace evograd::agent {

CommunicatorFactory ChooseCommunicator(bool cuda);

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_COMMUNICATOR_CHOICE_H_
