// Ranks on CPUs that exchange bytes over TCP through Gloo: every pair of ranks has one connection.
//
// See communicator.h for the contract. What Gloo alone would not do, and this does: a peer that
// dies while a large message is under way is noticed at once; a timeout on one rank does not look
// like its death to the others; ranks that call different collectives time out rather than corrupt
// each other.
// After an error destroy it soon: until then Gloo's thread may be busy with a message that nobody
// takes.
//
// The connections are neither encrypted nor authenticated beyond a secret that the ranks share
// through the rendezvous: the network between workers must be private.
#ifndef EVOGRAD_WORKER_COLLECTIVE_GLOO_COMMUNICATOR_H_
#define EVOGRAD_WORKER_COLLECTIVE_GLOO_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/collective/communicator.h"

namespace evograd {

// Collective over the ranks of `options`, of which there are at least 2. Uses the keys "gloo/…" of
// `rendezvous`, which is not used any more after the return. From the first call on the process
// ignores SIGPIPE, unless it handles it.
//
// DEADLINE_EXCEEDED when a rank did not come within options.rendezvous_timeout, or did not connect
// within options.timeout from then; ABORTED when the generation ended; UNAVAILABLE when a rank
// could not be reached or is of another generation; INVALID_ARGUMENT for an interface address that
// is not this host's.
absl::StatusOr<std::unique_ptr<Communicator>> CreateGlooCommunicator(
    const CommunicatorOptions& options, Rendezvous& rendezvous);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_GLOO_COMMUNICATOR_H_
