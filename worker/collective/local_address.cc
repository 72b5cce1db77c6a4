#include "worker/collective/local_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

using AddressList = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

// Addresses of documentation (RFC 5737, RFC 3849), for which any host with a default route has one.
constexpr char kAnywhere[] = "192.0.2.1";
constexpr char kAnywhere6[] = "2001:db8::1";

bool IsLoopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == 127;
  }
  const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

// Whether peers can dial it as it is written: no wildcard, and none that is only meant within one
// link.
bool IsDialled(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    const uint32_t four = ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr);
    return four != INADDR_ANY && four >> 16 != (169 << 8 | 254) && !IN_MULTICAST(four);
  }
  if (address.sa_family != AF_INET6) return false;
  const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LINKLOCAL(&six) &&
         !IN6_IS_ADDR_MULTICAST(&six);
}

std::string TextOf(const sockaddr& address) {
  char text[NI_MAXHOST] = "";
  const socklen_t length =
      address.sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  getnameinfo(&address, length, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

AddressList Lookup(const std::string& name, int flags, int* error) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  *error = getaddrinfo(name.c_str(), "9", &hints, &found);
  return AddressList(*error == 0 ? found : nullptr, [](addrinfo* list) {
    if (list != nullptr) freeaddrinfo(list);
  });
}

// 0, or why not.
int BindError(const addrinfo& address) {
  sockaddr_storage any_port = {};
  std::memcpy(&any_port, address.ai_addr, address.ai_addrlen);
  // At the same place in both families.
  reinterpret_cast<sockaddr_in&>(any_port).sin_port = 0;
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const bool bound =
      bind(fd, reinterpret_cast<const sockaddr*>(&any_port), address.ai_addrlen) == 0;
  const int error = bound ? 0 : errno;
  close(fd);
  return error;
}

bool IsOfOtherHosts(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT; }

// Without a socket nothing can be found out about addresses.
absl::Status CheckSockets() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 && !IsOfOtherHosts(errno)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this process can open no socket: ", std::strerror(errno)));
  }
  if (fd >= 0) close(fd);
  return absl::OkStatus();
}

// The address from which packets to `destination` leave; false where there is no way.
bool FindSource(const addrinfo& destination, sockaddr_storage* source) {
  // Connecting a datagram socket sends nothing.
  const int fd = socket(destination.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  socklen_t length = sizeof *source;
  const bool found = connect(fd, destination.ai_addr, destination.ai_addrlen) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(source), &length) == 0;
  close(fd);
  return found;
}

// The address from which packets to `name` leave; empty where no other host could dial it.
std::string SourceTowards(const std::string& name, int flags) {
  int error = 0;
  const AddressList found = Lookup(name, flags, &error);
  for (const addrinfo* a = found.get(); a != nullptr; a = a->ai_next) {
    sockaddr_storage source = {};
    const sockaddr& own = reinterpret_cast<const sockaddr&>(source);
    if (FindSource(*a, &source) && IsDialled(own) && !IsLoopback(own)) return TextOf(own);
  }
  return "";
}

// The address at which this host reaches itself; empty where that interface is down.
std::string Loopback() {
  for (const char* address : {"127.0.0.1", "::1"}) {
    int error = 0;
    const AddressList found = Lookup(address, AI_NUMERICHOST, &error);
    sockaddr_storage source = {};
    if (found != nullptr && FindSource(*found, &source)) return address;
  }
  return "";
}

// Those of the interfaces that are up, IPv4 first.
std::vector<std::string> OwnAddresses() {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
      constexpr unsigned kUp = IFF_UP | IFF_RUNNING;
      if (i->ifa_addr != nullptr && i->ifa_addr->sa_family == family &&
          (i->ifa_flags & kUp) == kUp && IsDialled(*i->ifa_addr) && !IsLoopback(*i->ifa_addr)) {
        addresses.push_back(TextOf(*i->ifa_addr));
      }
    }
  }
  freeifaddrs(list);
  return addresses;
}

// What a message advises to give instead.
std::string Advice() {
  const std::vector<std::string> own = OwnAddresses();
  if (own.empty()) return "; this host has none that other hosts could dial";
  return absl::StrCat("; those of this host are ", absl::StrJoin(own, ", "));
}

// The host in host:port, [host]:port or a gRPC name of these; empty for a socket of this host.
std::string HostOf(absl::string_view target) {
  if (absl::StartsWith(target, "unix:")) return "";
  for (const absl::string_view scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&target, scheme)) break;
  }
  // A name server of its own may stand between the slashes; it is not asked here.
  if (absl::StartsWith(target, "//")) {
    const size_t end = target.find('/', 2);
    target = end == absl::string_view::npos ? "" : target.substr(end + 1);
  }
  if (absl::StartsWith(target, "[")) return std::string(target.substr(1, target.find(']') - 1));
  const size_t colon = target.rfind(':');
  // Several colons without brackets: an IPv6 address without a port.
  if (colon == absl::string_view::npos || target.find(':') != colon) return std::string(target);
  return std::string(target.substr(0, colon));
}

bool IsLoopbackText(const std::string& address) {
  int error = 0;
  const AddressList found = Lookup(address, AI_NUMERICHOST, &error);
  return found != nullptr && IsLoopback(*found->ai_addr);
}

absl::StatusOr<std::string> AddressForOtherHosts(const std::string& coordinator) {
  const std::string host = HostOf(coordinator);
  if (!host.empty()) {
    std::string source = SourceTowards(host, 0);
    if (!source.empty()) return source;
  }
  for (const char* anywhere : {kAnywhere, kAnywhere6}) {
    std::string source = SourceTowards(anywhere, AI_NUMERICHOST);
    if (!source.empty()) return source;
  }
  const std::vector<std::string> own = OwnAddresses();
  if (!own.empty()) return own.front();
  return absl::FailedPreconditionError(
      "this host has no address that the other ranks of the group could dial: no interface but "
      "loopback is up; bring one up, or give --interface_address");
}

}  // namespace

absl::StatusOr<std::string> LocalAddress(const std::string& name) {
  EVOGRAD_RETURN_IF_ERROR(CheckSockets());
  int error = 0;
  const AddressList found = Lookup(name, 0, &error);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the interface address '", name,
                                                   "' cannot be resolved: ", gai_strerror(error),
                                                   "; give an address of this host", Advice()));
  }
  bool dialled = false;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* a = found.get(); a != nullptr; a = a->ai_next) {
      if (a->ai_family != family || !IsDialled(*a->ai_addr)) continue;
      dialled = true;
      const int cannot = BindError(*a);
      if (cannot == 0) return TextOf(*a->ai_addr);
      if (!IsOfOtherHosts(cannot)) {
        return absl::ResourceExhaustedError(
            absl::StrCat("no socket can be bound to '", name, "': ", std::strerror(cannot)));
      }
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the interface address '", name, "' is ",
                   dialled ? "not of this host" : "none that another host could dial", Advice()));
}

absl::StatusOr<std::string> AddressForGroup(const std::string& given,
                                            const std::string& coordinator, bool several_hosts) {
  EVOGRAD_RETURN_IF_ERROR(CheckSockets());
  if (!several_hosts && given.empty()) {
    std::string loopback = Loopback();
    if (!loopback.empty()) return loopback;
  }
  if (given.empty()) return AddressForOtherHosts(coordinator);
  absl::StatusOr<std::string> address = LocalAddress(given);
  if (address.ok() && several_hosts && IsLoopbackText(*address)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the group spans several hosts, and --interface_address is ", given,
        ", which no other host reaches; leave it out or give an address that they reach",
        Advice()));
  }
  return address;
}

std::string LoopbackNetwork() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat space = {};
  if (boot.empty() || stat("/proc/self/ns/net", &space) != 0) return "";
  return absl::StrCat(boot, "/", space.st_dev, "/", space.st_ino);
}

}  // namespace evograd
