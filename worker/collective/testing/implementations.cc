#include "worker/collective/testing/implementations.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/collective/in_memory_rendezvous.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/collective/nccl_communicator.h"
#include "worker/collective/tcp_communicator.h"
#include "worker/collective/testing/run_ranks.h"

namespace evograd {

std::ostream& operator<<(std::ostream& out, Implementation implementation) {
  switch (implementation) {
    case Implementation::kInProcess:
      return out << "InProcess";
    case Implementation::kTcp:
      return out << "Tcp";
    case Implementation::kNccl:
      return out << "Nccl";
  }
  return out;
}

absl::StatusOr<Ranks> MakeRanks(Implementation implementation, int size, absl::Duration timeout) {
  Ranks ranks(size);
  if (implementation == Implementation::kInProcess) {
    auto group = InProcessCommunicator::CreateGroup(size, timeout);
    for (int r = 0; r < size; ++r) ranks[r] = std::move(group[r]);
    return ranks;
  }
  if (implementation == Implementation::kNccl && CountCudaDevices() < size) {
    return absl::FailedPreconditionError(
        absl::StrCat(size, " ranks need as many GPUs, there are ", CountCudaDevices()));
  }
  InMemoryRendezvous rendezvous;
  std::vector<absl::Status> statuses(size);
  RunRanks(size, [&](int rank) {
    CommunicatorOptions options;
    options.rank = rank;
    options.size = size;
    options.timeout = timeout;
    options.rendezvous_timeout = absl::Seconds(60);
    options.interface_address = "127.0.0.1";
    options.cuda_device = rank;
    auto made = implementation == Implementation::kTcp
                    ? CreateTcpCommunicator(options, rendezvous)
                    : CreateNcclCommunicator(options, rendezvous);
    statuses[rank] = made.status();
    if (made.ok()) ranks[rank] = *std::move(made);
  });
  for (const absl::Status& status : statuses) EVOGRAD_RETURN_IF_ERROR(status);
  return ranks;
}

}  // namespace evograd
