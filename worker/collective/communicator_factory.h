// The communicator for a group of ranks, by where their data lies.
#ifndef EVOGRAD_WORKER_COLLECTIVE_COMMUNICATOR_FACTORY_H_
#define EVOGRAD_WORKER_COLLECTIVE_COMMUNICATOR_FACTORY_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/collective/communicator.h"

namespace evograd {

// Collective over the ranks of `options`: NCCL for CUDA memory, TCP for host memory; a single rank
// needs neither network nor rendezvous. INVALID_ARGUMENT when `options` has no such rank; else the
// errors of tcp_communicator.h and nccl_communicator.h.
absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(Communicator::Memory memory,
                                                                 const CommunicatorOptions& options,
                                                                 Rendezvous& rendezvous);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_COMMUNICATOR_FACTORY_H_
