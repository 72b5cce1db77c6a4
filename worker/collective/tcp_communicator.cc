#include "worker/collective/tcp_communicator.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "worker/collective/first_error.h"
#include "worker/collective/suspects.h"
#include "worker/collective/tcp_mesh.h"

namespace evograd {
namespace {

// From here on broadcasting in two steps, so that the root sends everything once rather than to
// everybody, pays.
constexpr size_t kLargeBroadcastBytes = 1 << 20;

enum class Operation : uint64_t { kAllGather = 1, kAllToAll, kBroadcast, kScatter, kSpread };

// What every message begins with: it says which collective it belongs to. A rank takes nothing from
// one that is in another collective: both wait until the deadline.
uint64_t TagOf(Operation operation, uint64_t number, size_t bytes, int root) {
  uint64_t tag = 0;
  for (const uint64_t part : {static_cast<uint64_t>(operation), number,
                              static_cast<uint64_t>(bytes), static_cast<uint64_t>(root)}) {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    tag += part + 0x9e3779b97f4a7c15;
    tag = (tag ^ (tag >> 30)) * 0xbf58476d1ce4e5b9;
    tag = (tag ^ (tag >> 27)) * 0x94d049bb133111eb;
    tag ^= tag >> 31;
  }
  return tag;
}

// One message to or from one peer: a tag, then the bytes.
struct Transfer {
  bool receive;
  int peer;
  char* data;
  size_t bytes;
  uint64_t tag = 0;
  // Of tag and bytes together.
  size_t moved = 0;
  // The peer's tag is another one.
  bool foreign = false;

  bool done() const { return moved == sizeof tag + bytes && !foreign; }

  // Moves what goes without waiting; 0, or why the connection has ended.
  int Advance(int fd, uint64_t expected);
};

int Transfer::Advance(int fd, uint64_t expected) {
  iovec parts[2] = {};
  msghdr message = {};
  message.msg_iov = parts;
  if (moved < sizeof tag) {
    parts[message.msg_iovlen++] = {reinterpret_cast<char*>(&tag) + moved, sizeof tag - moved};
  }
  const size_t done_bytes = moved < sizeof tag ? 0 : moved - sizeof tag;
  if (done_bytes < bytes) parts[message.msg_iovlen++] = {data + done_bytes, bytes - done_bytes};
  const ssize_t now = receive ? recvmsg(fd, &message, 0) : sendmsg(fd, &message, MSG_NOSIGNAL);
  if (now < 0) return errno == EAGAIN || errno == EINTR ? 0 : errno;
  if (receive && now == 0) return ECONNRESET;
  moved += now;
  foreign = receive && moved >= sizeof tag && tag != expected;
  return 0;
}

class TcpCommunicator : public Communicator {
 public:
  TcpCommunicator(const CommunicatorOptions& options, TcpMesh mesh)
      : rank_(options.rank),
        size_(options.size),
        timeout_(options.timeout),
        mesh_(std::move(mesh)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    EVOGRAD_CHECK(wake_.valid(), "a process that has connected has a descriptor more");
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Memory memory() const override { return Memory::kHost; }

  absl::Status AllGather(const void* send, void* receive, size_t bytes) override;
  absl::Status AllToAll(const void* send, void* receive, size_t bytes_per_block) override;
  absl::Status Broadcast(void* data, size_t bytes, int root) override;
  void Abort() override;

 private:
  absl::Status BroadcastInParts(char* data, size_t bytes, int root);
  // Calls `fn` with all other ranks, each rank beginning with another one.
  void ForEachPeer(const std::function<void(int peer)>& fn) const;

  // Carries out `transfers`, of which there is at most one per peer and direction.
  absl::Status Run(uint64_t tag, std::vector<Transfer> transfers);
  absl::Status Move(uint64_t tag, std::vector<Transfer>& transfers, absl::Time deadline);
  absl::Status Advance(Transfer& transfer, uint64_t tag) const;
  // Waits until something can be moved; OK also when that is not so.
  absl::Status Wait(const std::vector<Transfer>& transfers, absl::Time until);
  absl::Status Late(const std::vector<Transfer>& transfers) const;

  const int rank_;
  const int size_;
  const absl::Duration timeout_;
  const TcpMesh mesh_;
  // Readable once Abort was called.
  const FileDescriptor wake_;
  FirstError broken_;
  uint64_t collectives_ = 0;
  // The caller's: for each transfer, then for wake_.
  std::vector<pollfd> polled_;
};

void TcpCommunicator::Abort() {
  broken_.Set(absl::AbortedError("the communicator was aborted"));
  const uint64_t one = 1;
  // It fails only where it has been done many times.
  (void)!write(wake_.get(), &one, sizeof one);
}

absl::Status TcpCommunicator::Advance(Transfer& transfer, uint64_t tag) const {
  const int error = transfer.Advance(mesh_[transfer.peer].get(), tag);
  if (error == 0) return absl::OkStatus();
  return Suspecting({transfer.peer}, absl::UnavailableError(absl::StrCat(
                                         "rank ", transfer.peer, " is gone: its connection ended (",
                                         strerror(error), ")")));
}

absl::Status TcpCommunicator::Late(const std::vector<Transfer>& transfers) const {
  // A peer that does not take what it is sent is usually waiting for others; one that sends nothing
  // holds this rank up.
  for (const bool receive : {true, false}) {
    std::vector<int> ranks, elsewhere;
    for (const Transfer& transfer : transfers) {
      if (transfer.receive != receive || transfer.done()) continue;
      (transfer.foreign ? elsewhere : ranks).push_back(transfer.peer);
    }
    std::vector<int> all = ranks;
    all.insert(all.end(), elsewhere.begin(), elsewhere.end());
    if (all.empty()) continue;
    std::sort(all.begin(), all.end());
    return Suspecting(all, absl::DeadlineExceededError(absl::StrCat(
                               "a collective did not end within ", absl::FormatDuration(timeout_),
                               ": rank ", rank_, " waited for ", NamesOfRanks(all),
                               elsewhere.empty() ? ""
                                                 : absl::StrCat("; ", NamesOfRanks(elsewhere),
                                                                " called another collective"))));
  }
  return absl::InternalError("nothing was waited for");
}

absl::Status TcpCommunicator::Wait(const std::vector<Transfer>& transfers, absl::Time until) {
  polled_.clear();
  for (const Transfer& transfer : transfers) {
    const bool idle = transfer.done() || transfer.foreign;
    polled_.push_back({idle ? -1 : mesh_[transfer.peer].get(),
                       static_cast<short>(transfer.receive ? POLLIN : POLLOUT), 0});
  }
  polled_.push_back({wake_.get(), POLLIN, 0});
  const absl::Duration left = std::max(until - absl::Now(), absl::ZeroDuration());
  const timespec timeout = absl::ToTimespec(left);
  if (ppoll(polled_.data(), polled_.size(), &timeout, nullptr) < 0) {
    if (errno != EINTR) {
      return absl::InternalError(absl::StrCat("cannot wait for ranks: ", strerror(errno)));
    }
    for (pollfd& polled : polled_) polled.revents = 0;
  }
  return polled_.back().revents == 0 ? absl::OkStatus() : broken_.Get();
}

absl::Status TcpCommunicator::Move(uint64_t tag, std::vector<Transfer>& transfers,
                                   absl::Time deadline) {
  for (Transfer& transfer : transfers) {
    if (transfer.receive) continue;
    transfer.tag = tag;
    EVOGRAD_RETURN_IF_ERROR(Advance(transfer, tag));
  }
  const auto done = [](const Transfer& transfer) { return transfer.done(); };
  while (!std::all_of(transfers.begin(), transfers.end(), done)) {
    if (absl::Now() >= deadline) return Late(transfers);
    EVOGRAD_RETURN_IF_ERROR(Wait(transfers, deadline));
    for (size_t i = 0; i < transfers.size(); ++i) {
      if (polled_[i].revents != 0) EVOGRAD_RETURN_IF_ERROR(Advance(transfers[i], tag));
    }
  }
  return absl::OkStatus();
}

absl::Status TcpCommunicator::Run(uint64_t tag, std::vector<Transfer> transfers) {
  EVOGRAD_RETURN_IF_ERROR(broken_.Get());
  const absl::Status status = Move(tag, transfers, absl::Now() + timeout_);
  if (status.ok()) return status;
  broken_.Set(status);
  return broken_.Get();
}

void TcpCommunicator::ForEachPeer(const std::function<void(int peer)>& fn) const {
  for (int i = 1; i < size_; ++i) fn((rank_ + i) % size_);
}

absl::Status TcpCommunicator::AllGather(const void* send, void* receive, size_t bytes) {
  char* blocks = static_cast<char*>(receive);
  char* mine = blocks + rank_ * bytes;
  if (bytes > 0 && mine != send) std::memmove(mine, send, bytes);
  std::vector<Transfer> transfers;
  ForEachPeer([&](int peer) { transfers.push_back({true, peer, blocks + peer * bytes, bytes}); });
  ForEachPeer([&](int peer) { transfers.push_back({false, peer, mine, bytes}); });
  return Run(TagOf(Operation::kAllGather, ++collectives_, bytes, 0), std::move(transfers));
}

absl::Status TcpCommunicator::AllToAll(const void* send, void* receive, size_t bytes_per_block) {
  const size_t bytes = bytes_per_block;
  char* in = static_cast<char*>(receive);
  char* out = static_cast<char*>(const_cast<void*>(send));
  std::vector<Transfer> transfers;
  ForEachPeer([&](int peer) { transfers.push_back({true, peer, in + peer * bytes, bytes}); });
  ForEachPeer([&](int peer) { transfers.push_back({false, peer, out + peer * bytes, bytes}); });
  EVOGRAD_RETURN_IF_ERROR(
      Run(TagOf(Operation::kAllToAll, ++collectives_, bytes, 0), std::move(transfers)));
  if (bytes > 0) std::memcpy(in + rank_ * bytes, out + rank_ * bytes, bytes);
  return absl::OkStatus();
}

absl::Status TcpCommunicator::Broadcast(void* data, size_t bytes, int root) {
  EVOGRAD_CHECK(0 <= root && root < size_, "the root is a rank");
  char* all = static_cast<char*>(data);
  if (size_ > 2 && bytes >= kLargeBroadcastBytes) return BroadcastInParts(all, bytes, root);
  std::vector<Transfer> transfers;
  if (rank_ == root) {
    ForEachPeer([&](int peer) { transfers.push_back({false, peer, all, bytes}); });
  } else {
    transfers.push_back({true, root, all, bytes});
  }
  return Run(TagOf(Operation::kBroadcast, ++collectives_, bytes, root), std::move(transfers));
}

absl::Status TcpCommunicator::BroadcastInParts(char* data, size_t bytes, int root) {
  // Part r goes to rank r first, then from there to everybody.
  const auto begin = [&](int r) {
    return r * (bytes / size_) + std::min<size_t>(r, bytes % size_);
  };
  const auto part = [&](bool receive, int peer, int r) {
    return Transfer{receive, peer, data + begin(r), begin(r + 1) - begin(r)};
  };
  std::vector<Transfer> transfers;
  if (rank_ == root) {
    ForEachPeer([&](int peer) { transfers.push_back(part(false, peer, peer)); });
  } else {
    transfers.push_back(part(true, root, rank_));
  }
  EVOGRAD_RETURN_IF_ERROR(
      Run(TagOf(Operation::kScatter, ++collectives_, bytes, root), std::move(transfers)));

  std::vector<Transfer> second;
  ForEachPeer([&](int peer) {
    if (rank_ != root) second.push_back(part(true, peer, peer));
  });
  ForEachPeer([&](int peer) {
    if (peer != root) second.push_back(part(false, peer, rank_));
  });
  return Run(TagOf(Operation::kSpread, ++collectives_, bytes, root), std::move(second));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateTcpCommunicator(
    const CommunicatorOptions& options, Rendezvous& rendezvous) {
  EVOGRAD_CHECK(options.size >= 2 && 0 <= options.rank && options.rank < options.size,
                "a connection has two ends");
  absl::StatusOr<TcpMesh> mesh = ConnectTcpMesh(options, rendezvous);
  if (!mesh.ok() && rendezvous.Ended()) {
    // Peers that heard of it first are gone already: that is no failure of theirs.
    return absl::AbortedError("the generation ended while its ranks connected");
  }
  EVOGRAD_RETURN_IF_ERROR(mesh.status());
  return std::make_unique<TcpCommunicator>(options, *std::move(mesh));
}

}  // namespace evograd
