// Ranks on CUDA devices, one each, that exchange bytes through NCCL.
//
// See communicator.h for the contract. Collectives run in the order of options.cuda_stream, the
// stream on which the caller's kernels write and read the buffers, and return when they have ended
// there. NCCL never blocks the caller: it is polled, so that deadlines hold and Abort() is heard;
// after an error the communicator is torn down before the call returns, and no kernel touches the
// buffers any more.
//
// NCCL may notice a dead peer on the same host late or never: then the deadline, or Abort() by the
// agent, ends the call. It finds its network interfaces itself (NCCL_SOCKET_IFNAME) and does not
// encrypt: the network must be private.
#ifndef EVOGRAD_WORKER_COLLECTIVE_NCCL_COMMUNICATOR_H_
#define EVOGRAD_WORKER_COLLECTIVE_NCCL_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/collective/communicator.h"

namespace evograd {

// The CUDA devices of this machine; 0 where there is no driver.
int CountCudaDevices();

// Collective over the ranks of `options`. Uses the keys "nccl/…" of `rendezvous`, which is not used
// any more after the return. With size 1 there is no network and no rendezvous.
//
// DEADLINE_EXCEEDED when a rank did not come within options.rendezvous_timeout, or did not connect
// within options.timeout from then; ABORTED when the generation ended; FAILED_PRECONDITION when
// there is no such CUDA device; UNAVAILABLE when NCCL could not reach a rank; INTERNAL when CUDA
// failed.
absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(
    const CommunicatorOptions& options, Rendezvous& rendezvous);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_NCCL_COMMUNICATOR_H_
