// Where a coordinator listens that one command starts for itself: a socket in a temporary folder,
// so that no other user of this machine reaches it.
//
// Threads: one.
#ifndef EVOGRAD_CLIENT_CLI_PRIVATE_SOCKET_H_
#define EVOGRAD_CLIENT_CLI_PRIVATE_SOCKET_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/cli/temporary_folder.h"

namespace evograd {

class PrivateSocket {
 public:
  // In `folder` (may be null) where the path is one that a socket can have, else in a folder of its
  // own, which goes with this. FAILED_PRECONDITION: none can be made.
  static absl::StatusOr<std::unique_ptr<PrivateSocket>> Make(const TemporaryFolder* folder);

  // unix:/PATH.
  const std::string& address() const { return address_; }

 private:
  PrivateSocket(std::string address, std::unique_ptr<TemporaryFolder> own)
      : address_(std::move(address)), own_(std::move(own)) {}

  const std::string address_;
  const std::unique_ptr<TemporaryFolder> own_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_PRIVATE_SOCKET_H_
