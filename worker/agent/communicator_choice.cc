#include "worker/agent/communicator_choice.h"

#include <utility>

#include "worker/collective/gloo_communicator.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/collective/nccl_communicator.h"

namespace evograd::agent {

CommunicatorFactory ChooseCommunicator(bool cuda) {
  return [cuda](const CommunicatorOptions& options,
                Rendezvous& rendezvous) -> absl::StatusOr<std::unique_ptr<Communicator>> {
    if (cuda) return CreateNcclCommunicator(options, rendezvous);
    if (options.size > 1) return CreateGlooCommunicator(options, rendezvous);
    auto alone = InProcessCommunicator::CreateGroup(1, options.timeout);
    return std::unique_ptr<Communicator>(std::move(alone.front()));
  };
}

}  // namespace evograd::agent
