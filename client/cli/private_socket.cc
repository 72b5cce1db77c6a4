#include "client/cli/private_socket.h"

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/data_folder.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"

namespace evograd {
namespace {

std::string AddressIn(const TemporaryFolder& folder) {
  return absl::StrCat(kUnixPrefix, folder.path(), "/", kSocketName);
}

// Whether a socket can be there: a path may be too long for one.
bool Fits(const TemporaryFolder& folder) { return UnixSocketPath(AddressIn(folder)).ok(); }

}  // namespace

absl::StatusOr<std::unique_ptr<PrivateSocket>> PrivateSocket::Make(const TemporaryFolder* folder) {
  if (folder != nullptr && Fits(*folder)) {
    return absl::WrapUnique(new PrivateSocket(AddressIn(*folder), nullptr));
  }
  EVOGRAD_ASSIGN_OR_RETURN(auto own, TemporaryFolder::Make());
  if (!Fits(*own)) {
    EVOGRAD_ASSIGN_OR_RETURN(own, TemporaryFolder::Make("/tmp"));
  }
  std::string address = AddressIn(*own);
  return absl::WrapUnique(new PrivateSocket(std::move(address), std::move(own)));
}

}  // namespace evograd
