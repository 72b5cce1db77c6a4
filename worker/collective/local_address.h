// The address of this host that peers dial.
#ifndef EVOGRAD_WORKER_COLLECTIVE_LOCAL_ADDRESS_H_
#define EVOGRAD_WORKER_COLLECTIVE_LOCAL_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace evograd {

// `name`, an address or a host's name, as a numeric address that a socket of this host can be bound
// to; IPv4 before IPv6. An empty name stands for this host's own, and for 127.0.0.1 when that has
// no such address. INVALID_ARGUMENT when `name` has none. Any thread; may wait for the name
// service.
absl::StatusOr<std::string> LocalAddress(const std::string& name);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_LOCAL_ADDRESS_H_
