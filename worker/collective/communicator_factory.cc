#include "worker/collective/communicator_factory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/collective/nccl_communicator.h"
#include "worker/collective/tcp_communicator.h"

namespace evograd {

absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(Communicator::Memory memory,
                                                                 const CommunicatorOptions& options,
                                                                 Rendezvous& rendezvous) {
  if (options.rank < 0 || options.rank >= options.size) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", options.rank, " of a group of ", options.size, " does not exist"));
  }
  if (memory == Communicator::Memory::kCuda) return CreateNcclCommunicator(options, rendezvous);
  if (options.size > 1) return CreateTcpCommunicator(options, rendezvous);
  return std::move(InProcessCommunicator::CreateGroup(1, options.timeout)[0]);
}

}  // namespace evograd
