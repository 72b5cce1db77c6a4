#include "worker/collective/tcp_mesh.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "worker/collective/handshake.h"
#include "worker/collective/local_address.h"
#include "worker/collective/suspects.h"

namespace evograd {
namespace {

// How soon an ended generation is noticed while ranks connect.
constexpr absl::Duration kLookEvery = absl::Milliseconds(50);
// Of a connection that the peer dropped in doubt, the first and the longest.
constexpr absl::Duration kRedialMin = absl::Milliseconds(20);
constexpr absl::Duration kRedialMax = absl::Seconds(1);
// After the process ran out of file descriptors.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

// A connection is idle for as long as a rank evaluates: firewalls forget such ones after minutes.
constexpr int kKeepIdleSeconds = 60;
constexpr int kKeepIntervalSeconds = 20;

constexpr char kSecretKey[] = "tcp/secret";

std::string AddressKey(int rank) { return absl::StrCat("tcp/address/", rank); }

struct Address {
  std::string text;
  sockaddr_storage socket = {};
  socklen_t length = 0;
};

absl::StatusOr<Address> ParseAddress(const std::string& host, const std::string& port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int number = 0;
  if (host.empty() || !absl::SimpleAtoi(port, &number) || number < 0 || number > UINT16_MAX ||
      getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return absl::UnavailableError(absl::StrCat("'", host, "' with port '", port,
                                               "' is no address; do all run the same version?"));
  }
  Address address;
  address.text = host.find(':') == std::string::npos ? absl::StrCat(host, ":", port)
                                                     : absl::StrCat("[", host, "]:", port);
  address.length = found->ai_addrlen;
  std::memcpy(&address.socket, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

// What a rank puts into the rendezvous: "ADDRESS PORT".
absl::StatusOr<Address> ParseEntry(const std::string& entry) {
  const size_t space = entry.find(' ');
  if (space == std::string::npos) return ParseAddress("", "");
  return ParseAddress(entry.substr(0, space), entry.substr(space + 1));
}

const sockaddr* AsSockaddr(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.socket);
}

FileDescriptor StreamSocket(int family) {
  return FileDescriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

absl::StatusOr<FileDescriptor> Listen(const std::string& host, std::string* entry) {
  EVOGRAD_ASSIGN_OR_RETURN(const Address address, ParseAddress(host, "0"));
  FileDescriptor fd = StreamSocket(address.socket.ss_family);
  sockaddr_storage bound = {};
  socklen_t length = sizeof bound;
  if (!fd.valid() || bind(fd.get(), AsSockaddr(address), address.length) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot listen on ", host, " for the other ranks: ", strerror(errno)));
  }
  // The port stands at the same place for IPv4 and IPv6.
  *entry = absl::StrCat(host, " ", ntohs(reinterpret_cast<const sockaddr_in&>(bound).sin_port));
  return fd;
}

// Small messages leave at once; and a firewall between two hosts is reminded of the connection
// before it forgets it, however long ranks compute without a word.
void SetUp(const FileDescriptor& fd) {
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &kKeepIdleSeconds, sizeof kKeepIdleSeconds);
  setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &kKeepIntervalSeconds,
             sizeof kKeepIntervalSeconds);
}

// Whether this process or host has no more of what a connection takes, whoever is dialled.
bool IsOwnShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
         error == EAGAIN || error == EADDRNOTAVAIL;
}

// A connection whose other side has not proved itself yet.
struct Link {
  enum class Progress { kWaiting, kProved, kClosed, kStranger };

  // As far as it goes without waiting.
  Progress Advance();
  bool Flush();

  FileDescriptor fd;
  Handshake handshake;
  // The rank that was dialled; -1 where somebody dialled this one.
  int dialled;
  bool connecting = false;
  absl::Time deadline = absl::InfiniteFuture();
  std::string out = {};
  std::string in = {};
  // Why it is closed.
  int error = 0;
};

bool Link::Flush() {
  while (!out.empty()) {
    const ssize_t sent = send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return true;
    if (sent < 0) return false;
    out.erase(0, sent);
  }
  return true;
}

Link::Progress Link::Advance() {
  if (connecting) {
    socklen_t length = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return Progress::kClosed;
    connecting = false;
  }
  while (true) {
    out += handshake.TakeOutput();
    if (!Flush()) return Progress::kClosed;
    if (handshake.done()) return out.empty() ? Progress::kProved : Progress::kWaiting;
    const size_t before = in.size();
    in.resize(handshake.wanted());
    const ssize_t received = recv(fd.get(), &in[before], in.size() - before, 0);
    in.resize(before + std::max<ssize_t>(received, 0));
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) return Progress::kWaiting;
    if (received <= 0) return Progress::kClosed;
    if (in.size() < handshake.wanted()) continue;
    if (!handshake.Take(in).ok()) return Progress::kStranger;
    in.clear();
  }
}

// The time between the rendezvous and the complete mesh.
class Forming {
 public:
  Forming(const CommunicatorOptions& options, std::string secret, FileDescriptor listener,
          std::vector<Address> addresses, const Rendezvous& rendezvous)
      : options_(options),
        secret_(std::move(secret)),
        listener_(std::move(listener)),
        addresses_(std::move(addresses)),
        rendezvous_(rendezvous),
        mesh_(options.size),
        redials_(options.rank) {}

  absl::StatusOr<TcpMesh> Run();

 private:
  struct Redial {
    absl::Time when = absl::InfiniteFuture();
    absl::Duration pause = kRedialMin;
  };

  std::vector<int> Missing() const;
  absl::Status CheckTime(absl::Time now) const;
  absl::Status Dial(int peer);
  absl::Status DialAgain(absl::Time now);
  void Accept(absl::Time now);
  void DropOldestStranger();
  // Waits until a connection can go on, but not for long; then lets all that can.
  void Wait();
  absl::Status AdvanceAll(absl::Time now);
  absl::Status Advance(Link& link, absl::Time now);
  absl::Status Unreachable(int peer, int error) const;

  const CommunicatorOptions& options_;
  const std::string secret_;
  const FileDescriptor listener_;
  const std::vector<Address> addresses_;
  const Rendezvous& rendezvous_;
  TcpMesh mesh_;
  std::vector<Redial> redials_;
  std::vector<Link> links_;
  std::vector<pollfd> polled_;
  absl::Time accept_from_ = absl::InfinitePast();
  absl::Time deadline_;
};

std::vector<int> Forming::Missing() const {
  std::vector<int> missing;
  for (int rank = 0; rank < options_.size; ++rank) {
    if (rank != options_.rank && !mesh_[rank].valid()) missing.push_back(rank);
  }
  return missing;
}

absl::Status Forming::CheckTime(absl::Time now) const {
  if (rendezvous_.Ended()) {
    return absl::AbortedError("the generation ended while its ranks connected");
  }
  if (now < deadline_) return absl::OkStatus();
  const std::vector<int> missing = Missing();
  return Suspecting(missing, absl::DeadlineExceededError(absl::StrCat(
                                 "no connection with ", NamesOfRanks(missing), " within ",
                                 absl::FormatDuration(options_.connect_timeout), "; this is rank ",
                                 options_.rank, " at ", addresses_[options_.rank].text, ", ",
                                 NamesOfRanks({missing[0]}), " at ", addresses_[missing[0]].text,
                                 ": does a firewall drop what one sends to the other?")));
}

absl::Status Forming::Unreachable(int peer, int error) const {
  const Address& mine = addresses_[options_.rank];
  const Address& other = addresses_[peer];
  std::string text =
      absl::StrCat("cannot connect to rank ", peer, " at ", other.text, " from rank ",
                   options_.rank, " at ", mine.text, ": ", strerror(error));
  if (mine.socket.ss_family == other.socket.ss_family) {
    // No port is left; between two families it means that this host has not got the other one.
    if (IsOwnShortage(error)) return absl::ResourceExhaustedError(text);
  } else {
    absl::StrAppend(&text,
                    "; one is an IPv4 and the other an IPv6 address: give both workers an "
                    "--interface_address of the same kind");
  }
  return Suspecting({peer}, absl::UnavailableError(text));
}

absl::Status Forming::Dial(int peer) {
  const Address& address = addresses_[peer];
  Link link{StreamSocket(address.socket.ss_family),
            Handshake::Dial(secret_, options_.rank, peer, options_.size), peer};
  if (!link.fd.valid()) return Unreachable(peer, errno);
  SetUp(link.fd);
  if (connect(link.fd.get(), AsSockaddr(address), address.length) != 0 && errno != EINPROGRESS) {
    return Unreachable(peer, errno);
  }
  link.connecting = true;
  redials_[peer].when = absl::InfiniteFuture();
  links_.push_back(std::move(link));
  return absl::OkStatus();
}

absl::Status Forming::DialAgain(absl::Time now) {
  for (int peer = 0; peer < options_.rank; ++peer) {
    if (redials_[peer].when <= now) EVOGRAD_RETURN_IF_ERROR(Dial(peer));
  }
  return absl::OkStatus();
}

void Forming::DropOldestStranger() {
  const auto oldest =
      std::find_if(links_.begin(), links_.end(), [](const Link& link) { return link.dialled < 0; });
  if (oldest != links_.end()) links_.erase(oldest);
}

void Forming::Accept(absl::Time now) {
  if (now < accept_from_) return;
  while (true) {
    FileDescriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) return;
      // No descriptors or memory: whoever waits here longest makes room.
      DropOldestStranger();
      accept_from_ = now + kAcceptPause;
      return;
    }
    SetUp(fd);
    const auto in_doubt = std::count_if(links_.begin(), links_.end(),
                                        [](const Link& link) { return link.dialled < 0; });
    if (in_doubt >= options_.size + limits::kMaxStrangers) DropOldestStranger();
    Link link{std::move(fd), Handshake::Accept(secret_, options_.rank, options_.size), -1};
    link.deadline = now + absl::Milliseconds(limits::kRankHandshakeTimeoutMs);
    links_.push_back(std::move(link));
  }
}

void Forming::Wait() {
  polled_.clear();
  for (const Link& link : links_) {
    const bool sends = link.connecting || !link.out.empty();
    polled_.push_back({link.fd.get(), static_cast<short>(sends ? POLLOUT : POLLIN), 0});
  }
  const bool accepts = accept_from_ <= absl::Now();
  polled_.push_back({accepts ? listener_.get() : -1, POLLIN, 0});
  const absl::Duration left = std::min(kLookEvery, deadline_ - absl::Now());
  const int64_t wait = std::max<int64_t>(0, absl::ToInt64Milliseconds(left));
  // Where it fails, what follows finds nothing to do.
  (void)poll(polled_.data(), polled_.size(), static_cast<int>(wait) + 1);
}

absl::Status Forming::Advance(Link& link, absl::Time now) {
  const Link::Progress progress = link.Advance();
  if (progress == Link::Progress::kProved) {
    // A second connection of the same rank: it has given the first one up.
    mesh_[link.handshake.peer()] = std::exchange(link.fd, FileDescriptor());
    return absl::OkStatus();
  }
  if (progress == Link::Progress::kWaiting && now < link.deadline) return absl::OkStatus();
  const FileDescriptor closed = std::exchange(link.fd, FileDescriptor());
  if (link.dialled < 0) return absl::OkStatus();
  if (link.connecting) return Unreachable(link.dialled, link.error);
  if (progress == Link::Progress::kStranger) {
    return Suspecting({link.dialled},
                      absl::UnavailableError(absl::StrCat("who answers for rank ", link.dialled,
                                                          " at ", addresses_[link.dialled].text,
                                                          " is not of this generation")));
  }
  // It was among too many strangers, was held up for too long, or is leaving; then nobody listens
  // there any more.
  Redial& redial = redials_[link.dialled];
  redial.when = now + redial.pause;
  redial.pause = std::min(2 * redial.pause, kRedialMax);
  return absl::OkStatus();
}

absl::Status Forming::AdvanceAll(absl::Time now) {
  for (size_t i = 0; i < links_.size(); ++i) {
    if (polled_[i].revents != 0 || links_[i].deadline <= now) {
      EVOGRAD_RETURN_IF_ERROR(Advance(links_[i], now));
    }
  }
  links_.erase(std::remove_if(links_.begin(), links_.end(),
                              [](const Link& link) { return !link.fd.valid(); }),
               links_.end());
  return absl::OkStatus();
}

absl::StatusOr<TcpMesh> Forming::Run() {
  deadline_ = absl::Now() + options_.connect_timeout;
  for (int peer = 0; peer < options_.rank; ++peer) EVOGRAD_RETURN_IF_ERROR(Dial(peer));
  while (!Missing().empty()) {
    EVOGRAD_RETURN_IF_ERROR(CheckTime(absl::Now()));
    Wait();
    const absl::Time now = absl::Now();
    EVOGRAD_RETURN_IF_ERROR(AdvanceAll(now));
    EVOGRAD_RETURN_IF_ERROR(DialAgain(now));
    Accept(now);
  }
  return std::move(mesh_);
}

// The entries of all ranks; DEADLINE_EXCEEDED names all that did not come.
absl::StatusOr<std::vector<Address>> WaitForAddresses(const CommunicatorOptions& options,
                                                      Rendezvous& rendezvous, absl::Time deadline) {
  std::vector<Address> addresses;
  std::vector<int> missing;
  for (int rank = 0; rank < options.size; ++rank) {
    const absl::StatusOr<std::string> entry = rendezvous.Wait(AddressKey(rank), deadline);
    if (absl::IsDeadlineExceeded(entry.status())) {
      missing.push_back(rank);
      continue;
    }
    EVOGRAD_RETURN_IF_ERROR(entry.status());
    absl::StatusOr<Address> address = ParseEntry(*entry);
    if (!address.ok()) {
      return Suspecting(
          {rank}, absl::UnavailableError(absl::StrCat("the rendezvous entry of rank ", rank, ": ",
                                                      std::string(address.status().message()))));
    }
    addresses.push_back(*std::move(address));
  }
  if (missing.empty()) return addresses;
  return Suspecting(missing, absl::DeadlineExceededError(absl::StrCat(
                                 NamesOfRanks(missing), " did not come to the group within ",
                                 absl::FormatDuration(options.rendezvous_timeout))));
}

}  // namespace

absl::StatusOr<TcpMesh> ConnectTcpMesh(const CommunicatorOptions& options, Rendezvous& rendezvous) {
  const absl::Time deadline = absl::Now() + options.rendezvous_timeout;
  EVOGRAD_ASSIGN_OR_RETURN(
      const std::string host,
      LocalAddress(options.interface_address.empty() ? "127.0.0.1" : options.interface_address));
  std::string entry;
  EVOGRAD_ASSIGN_OR_RETURN(FileDescriptor listener, Listen(host, &entry));
  if (options.rank == 0) EVOGRAD_RETURN_IF_ERROR(rendezvous.Put(kSecretKey, RandomSecret()));
  EVOGRAD_RETURN_IF_ERROR(rendezvous.Put(AddressKey(options.rank), entry));

  EVOGRAD_ASSIGN_OR_RETURN(std::vector<Address> addresses,
                           WaitForAddresses(options, rendezvous, deadline));
  // Rank 0 has put it before its address.
  EVOGRAD_ASSIGN_OR_RETURN(std::string secret, rendezvous.Wait(kSecretKey, deadline));
  if (secret.size() != kSecretBytes) {
    return Suspecting(
        {0}, absl::UnavailableError(absl::StrCat("rank 0 put a secret of ", secret.size(),
                                                 " bytes into the "
                                                 "rendezvous, not ",
                                                 kSecretBytes, "; do all run the same version?")));
  }
  Forming forming(options, std::move(secret), std::move(listener), std::move(addresses),
                  rendezvous);
  return forming.Run();
}

}  // namespace evograd
