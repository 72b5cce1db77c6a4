#include "server/rpc/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/errno_status.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"

namespace evograd {
namespace {

// After an accept that failed: whatever is short may be there again.
constexpr int kRetryMs = 100;
constexpr std::chrono::minutes kNoticeInterval(1);
constexpr int kAcceptedAtOnce = 64;
constexpr int kPortTries = 10;

int MaxDescriptor() {
  rlimit files = {};
  int64_t allowed = limits::kMaxConnections + limits::kReservedFiles;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0)
    allowed = static_cast<int64_t>(std::min<rlim_t>(allowed, files.rlim_cur));
  // Where few are allowed, a quarter.
  return static_cast<int>(allowed - std::min<int64_t>(limits::kReservedFiles, allowed / 4));
}

// Of the one connection, not of the socket: accept(2), "Error handling".
bool IsOfOneConnection(int error) {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
      return true;
    default:
      return false;
  }
}

absl::Status CannotListen(const std::string& listen, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat("cannot listen on ", listen, ": ", why));
}

std::string WhyNot(int error) {
  if (error == EADDRINUSE) return "another program listens there";
  if (error == EADDRNOTAVAIL) return "it is no address of this machine";
  return std::strerror(error);
}

// 0: there is none.
ino_t InodeOf(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

int PortOf(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

sockaddr_storage WithPort(const addrinfo& at, int port) {
  sockaddr_storage address = {};
  std::memcpy(&address, at.ai_addr, at.ai_addrlen);
  const in_port_t number = htons(static_cast<uint16_t>(port));
  if (at.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&address)->sin6_port = number;
  } else {
    reinterpret_cast<sockaddr_in*>(&address)->sin_port = number;
  }
  return address;
}

// Adds to `sockets`; 0, or why not.
int ListenAt(const addrinfo& at, int port, std::vector<int>* sockets) {
  const int fd = socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  // Of those that connections of an earlier process still hold, not of those that are listened at.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_storage address = WithPort(at, port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), at.ai_addrlen) == 0 &&
      listen(fd, SOMAXCONN) == 0) {
    sockets->push_back(fd);
    return 0;
  }
  const int error = errno;
  close(fd);
  return error;
}

// Whether it stands in the list before itself: two lines of /etc/hosts may name one.
bool StandsBefore(const addrinfo& at, const addrinfo* list) {
  for (; list != &at; list = list->ai_next) {
    if (list->ai_addrlen == at.ai_addrlen &&
        std::memcmp(list->ai_addr, at.ai_addr, at.ai_addrlen) == 0) {
      return true;
    }
  }
  return false;
}

// At each address of the list that this machine has: a name may have others. 0, or why at none;
// EADDRINUSE of any is of all.
int ListenAtAll(const addrinfo* list, int port, std::vector<int>* sockets) {
  int error = 0;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (StandsBefore(*at, list)) continue;
    const int failed = ListenAt(*at, port, sockets);
    if (failed == EADDRINUSE) {
      for (const int socket : *sockets) close(socket);
      sockets->clear();
      return failed;
    }
    if (failed == 0) port = PortOf(sockets->back());
    if (failed != 0) error = failed;
  }
  return sockets->empty() ? error : 0;
}

// gRPC would write a line of its log for each that is not.
bool IsConnected(int connection) {
  sockaddr_storage peer = {};
  socklen_t size = sizeof peer;
  return getpeername(connection, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

void Configure(int connection) {
  const int on = 1;
  const unsigned int timeout_ms = limits::kKeepaliveTimeoutMs;
  // Neither is there, and needed, for a socket that is a file.
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

}  // namespace

bool SplitAddress(const std::string& address, std::string* host, int* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  *host = address.substr(0, colon);
  return absl::SimpleAtoi(address.substr(colon + 1), port) && *port >= 0 && *port <= 65535;
}

Listener::Listener(Notice notice) : notice_(std::move(notice)), max_descriptor_(MaxDescriptor()) {}

Listener::~Listener() { Stop(); }

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const std::string& listen, Notice notice) {
  std::unique_ptr<Listener> listener(new Listener(std::move(notice)));
  EVOGRAD_RETURN_IF_ERROR(IsUnixAddress(listen) ? listener->BindUnix(listen)
                                                : listener->BindTcp(listen));
  listener->stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (listener->stop_event_ < 0) return CannotListen(listen, std::strerror(errno));
  return listener;
}

absl::Status Listener::BindUnix(const std::string& listen) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string path, UnixSocketPath(listen));
  if (const absl::Status way = MakeWayForSocket(path); !way.ok())
    return CannotListen(listen, std::string(way.message()));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return CannotListen(listen, std::strerror(errno));
  sockets_.push_back(fd);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  // The file has these rights from its first moment on (unix(7): the mode of the socket, less the
  // umask).
  if (fchmod(fd, 0600) != 0 ||
      bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return CannotListen(listen, WhyNot(errno));
  }
  unix_path_ = path;
  unix_inode_ = InodeOf(path);
  if (::listen(fd, SOMAXCONN) != 0) return CannotListen(listen, WhyNot(errno));
  address_ = listen;
  return absl::OkStatus();
}

absl::Status Listener::BindTcp(const std::string& listen) {
  std::string host;
  int port = 0;
  if (!SplitAddress(listen, &host, &port)) return CannotListen(listen, "it is no host:port");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  absl::string_view name = host;
  if (absl::ConsumePrefix(&name, "[")) absl::ConsumeSuffix(&name, "]");
  if (const int error = getaddrinfo(std::string(name).c_str(), nullptr, &hints, &found); error != 0)
    return CannotListen(listen, gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  // The free port of one address may be taken at the next.
  int error = 0;
  for (int tries = port == 0 ? kPortTries : 1; tries > 0; --tries) {
    error = ListenAtAll(addresses.get(), port, &sockets_);
    if (error != EADDRINUSE) break;
  }
  if (error != 0) return CannotListen(listen, WhyNot(error));
  address_ = absl::StrCat(host, ":", PortOf(sockets_.back()));
  return absl::OkStatus();
}

void Listener::Serve(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (thread_.joinable()) {
    eventfd_write(stop_event_, 1);
    thread_.join();
  }
  for (const int socket : sockets_) close(socket);
  sockets_.clear();
  if (stop_event_ >= 0) close(std::exchange(stop_event_, -1));
  if (!unix_path_.empty() && InodeOf(unix_path_) == unix_inode_) unlink(unix_path_.c_str());
  unix_path_.clear();
}

void Listener::Run() {
  std::vector<pollfd> all = {{stop_event_, POLLIN, 0}};
  for (const int socket : sockets_) all.push_back({socket, POLLIN, 0});
  bool short_of_something = false;
  while (true) {
    // Who waits for a connection goes on waiting while none can be had.
    const nfds_t looked_at = short_of_something ? 1 : all.size();
    const bool failed =
        poll(all.data(), looked_at, short_of_something ? kRetryMs : -1) < 0 && errno != EINTR;
    if (!failed && (all[0].revents & POLLIN) != 0) return;
    // Where it fails again and again, one descriptor is looked at.
    short_of_something = failed;
    for (const int socket : sockets_) short_of_something |= !Accept(socket);
  }
}

bool Listener::Accept(int socket) {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    const int fd = accept4(socket, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      if (errno == EINTR || (IsOfOneConnection(errno) && i + 1 < kAcceptedAtOnce)) continue;
      Say(absl::StrCat("no connection can be taken now: ", std::strerror(errno)));
      return false;
    }
    if (fd >= max_descriptor_) {
      close(fd);
      Say(absl::StrCat("more connections than the ", max_descriptor_,
                       " files that they may take of this process (ulimit -n); new ones are "
                       "closed"));
      continue;
    }
    if (!IsConnected(fd)) {
      close(fd);
      continue;
    }
    Configure(fd);
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.listener_fd = socket;
    connection.fd = fd;
    acceptor_->HandleNewConnection(&connection);
  }
  return true;
}

void Listener::Say(const std::string& notice) {
  const auto now = std::chrono::steady_clock::now();
  if (!notice_ || now < may_say_at_) return;
  may_say_at_ = now + kNoticeInterval;
  notice_(notice);
}

}  // namespace evograd
