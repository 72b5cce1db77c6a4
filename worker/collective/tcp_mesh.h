// Connects the ranks of a generation with each other: one TCP connection per pair, each side of
// which has proved that it belongs to the generation (handshake.h).
//
// A rank's port is open to anybody: whoever connects and is no rank of the group, says nothing,
// speaks another protocol or knows no secret, is dropped alone and within
// limits::kRankHandshakeTimeoutMs. Once the mesh is complete the port is closed.
#ifndef EVOGRAD_WORKER_COLLECTIVE_TCP_MESH_H_
#define EVOGRAD_WORKER_COLLECTIVE_TCP_MESH_H_

#include <vector>

#include "absl/status/statusor.h"
#include "worker/collective/communicator.h"
#include "worker/collective/file_descriptor.h"

namespace evograd {

// By rank; the own one is not valid. Non-blocking, without delay of small messages.
using TcpMesh = std::vector<FileDescriptor>;

// Collective over the ranks of `options`. Each puts the address at which it listens into the
// rendezvous ("tcp/…") and waits for the others'; when all are there they connect within
// options.connect_timeout, each with those of lower rank.
//
// DEADLINE_EXCEEDED when a rank did not come or did not connect; ABORTED when the generation ended;
// UNAVAILABLE when one could not be reached or who answers for it is not of this generation: these
// with suspects.h. RESOURCE_EXHAUSTED where this process has no descriptors or ports for it.
// INVALID_ARGUMENT for an interface address that is not this host's.
absl::StatusOr<TcpMesh> ConnectTcpMesh(const CommunicatorOptions& options, Rendezvous& rendezvous);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TCP_MESH_H_
