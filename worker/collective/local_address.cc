#include "worker/collective/local_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <memory>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

bool CanBind(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool bound = bind(fd, address.ai_addr, address.ai_addrlen) == 0;
  close(fd);
  return bound;
}

absl::StatusOr<std::string> Resolve(const std::string& name) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the interface address '", name,
                                                   "' cannot be resolved: ", gai_strerror(error),
                                                   "; give an address of this host"));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
      char text[NI_MAXHOST];
      if (a->ai_family == family && CanBind(*a) &&
          getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) ==
              0) {
        return std::string(text);
      }
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the interface address '", name, "' is not of this host; give one of its own addresses"));
}

}  // namespace

absl::StatusOr<std::string> LocalAddress(const std::string& name) {
  if (!name.empty()) return Resolve(name);
  char host[HOST_NAME_MAX + 1] = {};
  if (gethostname(host, HOST_NAME_MAX) == 0 && host[0] != '\0') {
    absl::StatusOr<std::string> address = Resolve(host);
    if (address.ok()) return address;
  }
  return Resolve("127.0.0.1");
}

}  // namespace evograd
