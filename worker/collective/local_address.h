// The address of this host at which the other ranks of a group reach a worker.
//
// Any thread may call anything; calls with names may wait for the name service. Addresses are
// numeric texts without a port.
#ifndef EVOGRAD_WORKER_COLLECTIVE_LOCAL_ADDRESS_H_
#define EVOGRAD_WORKER_COLLECTIVE_LOCAL_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace evograd {

// `name`, an address or a host's name, as an address that a socket of this host can be bound to and
// that peers can dial; IPv4 before IPv6. INVALID_ARGUMENT when `name` has none: then the message
// names the addresses that this host has. RESOURCE_EXHAUSTED where this process has no descriptors
// or ports to try it.
absl::StatusOr<std::string> LocalAddress(const std::string& name);

// The address for a group's ranks to dial.
//
// The `given` one (as for LocalAddress), where there is one. Else, all on one host: the loopback
// address, where the host has one. On several hosts: the one from which packets to `coordinator`
// (host:port; may be empty, or a unix address) leave unless that is a loopback address, else the
// one from which packets to anywhere leave, else the first of an interface that is up.
// FAILED_PRECONDITION where there is none, and where the given one is a loopback address, which no
// other host reaches; INVALID_ARGUMENT and RESOURCE_EXHAUSTED as LocalAddress.
absl::StatusOr<std::string> AddressForGroup(const std::string& given,
                                            const std::string& coordinator, bool several_hosts);

// What is the same in all processes that reach each other by loopback, and in no others: the
// kernel's boot and the network namespace. Empty where the kernel does not tell.
std::string LoopbackNetwork();

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_LOCAL_ADDRESS_H_
