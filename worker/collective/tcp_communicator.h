// Ranks on CPUs that exchange bytes over TCP: every pair of ranks has one connection, made and
// authenticated by tcp_mesh.h.
//
// See communicator.h for the contract. The thread that calls a collective moves the bytes itself,
// so between collectives nothing runs; a peer that dies, however much of a message is under way, is
// noticed at once by the ranks that wait for it; ranks that call different collectives time out
// rather than corrupt each other. Errors have suspects.h.
//
// The connections are authenticated but not encrypted: the network between workers must be private.
#ifndef EVOGRAD_WORKER_COLLECTIVE_TCP_COMMUNICATOR_H_
#define EVOGRAD_WORKER_COLLECTIVE_TCP_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/collective/communicator.h"

namespace evograd {

// Collective over the ranks of `options`, of which there are at least 2. Uses the keys "tcp/…" of
// `rendezvous`, which is not used any more after the return.
//
// DEADLINE_EXCEEDED when a rank did not come within options.rendezvous_timeout, or did not connect
// within options.connect_timeout from then; ABORTED when the generation ended; UNAVAILABLE when a
// rank could not be reached or is of another generation; RESOURCE_EXHAUSTED where this process has
// no descriptors or ports for it; INVALID_ARGUMENT for an interface address that is not this
// host's.
absl::StatusOr<std::unique_ptr<Communicator>> CreateTcpCommunicator(
    const CommunicatorOptions& options, Rendezvous& rendezvous);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TCP_COMMUNICATOR_H_
