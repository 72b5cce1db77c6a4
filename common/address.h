// The addresses at which a coordinator is reached: "host:7070", "[::1]:7070", "unix:/PATH".
//
//   EVOGRAD_RETURN_IF_ERROR(CheckAddress(address));
//   ... dial
//
// A pure function. It says what gRPC would not: that takes "localhost" for a web server's address,
// and dials for ever what can be no address.
#ifndef EVOGRAD_COMMON_ADDRESS_H_
#define EVOGRAD_COMMON_ADDRESS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace evograd {

// INVALID_ARGUMENT: it has not the form of an address; a sentence that says what is wrong with it.
// Whether there is such a host, dialling shows.
absl::Status CheckAddress(absl::string_view address);

}  // namespace evograd

#endif  // EVOGRAD_COMMON_ADDRESS_H_
