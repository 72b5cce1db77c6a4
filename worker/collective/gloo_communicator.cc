#include "worker/collective/gloo_communicator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/status_macros.h"
#include "gloo/transport/unbound_buffer.h"
#include "worker/collective/gloo_mesh.h"

namespace evograd {
namespace {

// Gloo's own timeouts are never used to end a wait that may still succeed: it would close all
// connections, and the peers would take this rank for dead.
constexpr std::chrono::milliseconds kForever = std::chrono::hours(24 * 365);
constexpr std::chrono::milliseconds kAtOnce = std::chrono::milliseconds(1);

// Nothing is ever sent with this tag: a receive that waits for it fails when the connection does.
constexpr uint64_t kGuardTag = 1;

// From here on broadcasting in two steps, so that the root sends everything once rather than to
// everybody, pays.
constexpr size_t kLargeBroadcastBytes = 1 << 20;

enum class Operation : uint64_t { kAllGather = 2, kAllToAll, kBroadcast, kScatter, kSpread };

// A message's tag says which collective it belongs to. Ranks that disagree about it have no tag in
// common: they wait for each other until the deadline.
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

// One message to or from one peer.
struct Transfer {
  bool receive;
  int peer;
  char* data;
  size_t bytes;
};

// A transfer that Gloo works on.
struct Pending {
  Transfer transfer;
  std::unique_ptr<gloo::transport::UnboundBuffer> buffer;
  bool done = false;

  bool Wait(std::chrono::milliseconds timeout) {
    return transfer.receive ? buffer->waitRecv(nullptr, timeout)
                            : buffer->waitSend(nullptr, timeout);
  }
  void Wake() { transfer.receive ? buffer->abortWaitRecv() : buffer->abortWaitSend(); }
};

void IgnoreSigpipe() {
  // Gloo writes to sockets without MSG_NOSIGNAL: a peer's death must not be ours.
  static const bool once = [] {
    struct sigaction action = {};
    if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
      std::signal(SIGPIPE, SIG_IGN);
    }
    return true;
  }();
  (void)once;
}

// Three threads take part: the caller of the collectives; a timer, which wakes the caller at the
// deadline; and a monitor, which wakes it when a peer is gone. (Gloo alone tells only operations
// that have not begun to move bytes.)
class GlooCommunicator : public Communicator {
 public:
  GlooCommunicator(const CommunicatorOptions& options, GlooMesh mesh);
  ~GlooCommunicator() override;

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
  absl::Status Run(uint64_t tag, const std::vector<Transfer>& transfers);
  absl::Status Begin(uint64_t tag, std::vector<Pending>& pending);
  absl::Status Finish(std::vector<Pending>& pending, size_t index);
  // OK when all that is pending with peers that are gone has been completed.
  absl::Status CheckGonePeers(std::vector<Pending>& pending);
  bool IsComplete(Pending& pending);

  void RunTimer();
  void RunMonitor();
  // Waits until a peer of `live` is gone, and takes it out; false when the communicator ends.
  bool WaitForLoss(std::vector<int>& live);

  // Keeps the first error, wakes the caller, returns the error that is kept.
  absl::Status Break(absl::Status error) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status BreakLocked(absl::Status error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Unavailable(int peer, const char* what);

  const int rank_;
  const int size_;
  const absl::Duration timeout_;
  const GlooMesh mesh_;
  uint64_t collectives_ = 0;
  // Whom the caller waits for, for the message.
  std::atomic<int> waiting_for_{0};

  absl::Mutex mutex_;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<bool> gone_ ABSL_GUARDED_BY(mutex_);
  // Of the collective that runs; null and infinite when none does.
  std::vector<Pending>* active_ ABSL_GUARDED_BY(mutex_) = nullptr;
  absl::Time deadline_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  gloo::transport::UnboundBuffer* guard_ ABSL_GUARDED_BY(mutex_) = nullptr;

  std::thread timer_;
  std::thread monitor_;
};

GlooCommunicator::GlooCommunicator(const CommunicatorOptions& options, GlooMesh mesh)
    : rank_(options.rank),
      size_(options.size),
      timeout_(options.timeout),
      mesh_(std::move(mesh)),
      gone_(options.size),
      timer_([this] { RunTimer(); }),
      monitor_([this] { RunMonitor(); }) {}

GlooCommunicator::~GlooCommunicator() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (guard_ != nullptr) guard_->abortWaitRecv();
  }
  timer_.join();
  monitor_.join();
}

void GlooCommunicator::Abort() { (void)Break(absl::AbortedError("the communicator was aborted")); }

absl::Status GlooCommunicator::Break(absl::Status error) {
  absl::MutexLock lock(&mutex_);
  return BreakLocked(std::move(error));
}

absl::Status GlooCommunicator::BreakLocked(absl::Status error) {
  if (broken_.ok()) broken_ = std::move(error);
  deadline_ = absl::InfiniteFuture();
  if (active_ != nullptr) {
    for (Pending& pending : *active_) pending.Wake();
  }
  return broken_;
}

absl::Status GlooCommunicator::Unavailable(int peer, const char* what) {
  return Break(absl::UnavailableError(
      absl::StrCat("rank ", peer, " is gone: its connection ended (", what, ")")));
}

void GlooCommunicator::RunTimer() {
  absl::MutexLock lock(&mutex_);
  // A collective that begins after a look has its deadline after the next one, so nobody needs to
  // wake the timer.
  while (!mutex_.AwaitWithDeadline(absl::Condition(&stopping_),
                                   std::min(deadline_, absl::Now() + timeout_))) {
    if (absl::Now() < deadline_) continue;
    (void)BreakLocked(absl::DeadlineExceededError(
        absl::StrCat("a collective did not end within ", absl::FormatDuration(timeout_), "; rank ",
                     waiting_for_.load(), " is among those that did not do their part")));
  }
}

bool GlooCommunicator::WaitForLoss(std::vector<int>& live) {
  char nothing = 0;
  const auto guard = mesh_.context->createUnboundBuffer(&nothing, sizeof nothing);
  for (auto peer = live.begin(); peer != live.end();) {
    try {
      guard->recv(*peer, kGuardTag, 0, sizeof nothing);
      ++peer;
    } catch (const std::exception&) {
      absl::MutexLock lock(&mutex_);
      gone_[*peer] = true;
      // The caller looks whether it waits for this one.
      if (active_ != nullptr) {
        for (Pending& pending : *active_) pending.Wake();
      }
      peer = live.erase(peer);
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return false;
    guard_ = guard.get();
  }
  try {
    (void)guard->waitRecv(nullptr, kForever);
  } catch (const std::exception&) {
    // The next turn finds out which one it was.
  }
  absl::MutexLock lock(&mutex_);
  guard_ = nullptr;
  return !stopping_;
}

void GlooCommunicator::RunMonitor() {
  std::vector<int> live;
  ForEachPeer([&](int peer) { live.push_back(peer); });
  while (!live.empty() && WaitForLoss(live)) {
  }
}

absl::Status GlooCommunicator::Begin(uint64_t tag, std::vector<Pending>& pending) {
  for (Pending& p : pending) {
    try {
      p.buffer = mesh_.context->createUnboundBuffer(p.transfer.data, p.transfer.bytes);
    } catch (const std::exception& e) {
      return Unavailable(p.transfer.peer, e.what());
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    if (!broken_.ok()) return broken_;
    active_ = &pending;
    deadline_ = absl::Now() + timeout_;
  }
  for (Pending& p : pending) {
    try {
      if (p.transfer.receive) {
        p.buffer->recv(p.transfer.peer, tag, 0, p.transfer.bytes);
      } else {
        p.buffer->send(p.transfer.peer, tag, 0, p.transfer.bytes);
      }
    } catch (const std::exception& e) {
      return Unavailable(p.transfer.peer, e.what());
    }
  }
  return absl::OkStatus();
}

bool GlooCommunicator::IsComplete(Pending& pending) {
  while (true) {
    try {
      if (pending.Wait(kAtOnce)) return true;
    } catch (const std::exception&) {
      return false;
    }
    // It was woken; nothing is known yet.
    absl::MutexLock lock(&mutex_);
    if (!broken_.ok()) return false;
  }
}

absl::Status GlooCommunicator::CheckGonePeers(std::vector<Pending>& pending) {
  std::vector<bool> gone;
  {
    absl::MutexLock lock(&mutex_);
    if (!broken_.ok()) return broken_;
    gone = gone_;
  }
  // A peer may have done its part before it left.
  for (Pending& p : pending) {
    if (p.done || !gone[p.transfer.peer]) continue;
    p.done = IsComplete(p);
    if (!p.done) return Unavailable(p.transfer.peer, "in the middle of a message");
  }
  return absl::OkStatus();
}

absl::Status GlooCommunicator::Finish(std::vector<Pending>& pending, size_t index) {
  Pending& p = pending[index];
  waiting_for_ = p.transfer.peer;
  while (!p.done) {
    try {
      p.done = p.Wait(kForever);
    } catch (const std::exception& e) {
      return Unavailable(p.transfer.peer, e.what());
    }
    if (!p.done) EVOGRAD_RETURN_IF_ERROR(CheckGonePeers(pending));
  }
  return absl::OkStatus();
}

absl::Status GlooCommunicator::Run(uint64_t tag, const std::vector<Transfer>& transfers) {
  std::vector<Pending> pending(transfers.size());
  for (size_t i = 0; i < transfers.size(); ++i) pending[i].transfer = transfers[i];
  absl::Status status = Begin(tag, pending);
  for (size_t i = 0; status.ok() && i < pending.size(); ++i) status = Finish(pending, i);
  absl::MutexLock lock(&mutex_);
  active_ = nullptr;
  deadline_ = absl::InfiniteFuture();
  return status;
}

void GlooCommunicator::ForEachPeer(const std::function<void(int peer)>& fn) const {
  for (int i = 1; i < size_; ++i) fn((rank_ + i) % size_);
}

absl::Status GlooCommunicator::AllGather(const void* send, void* receive, size_t bytes) {
  char* blocks = static_cast<char*>(receive);
  char* mine = blocks + rank_ * bytes;
  if (bytes > 0 && mine != send) std::memmove(mine, send, bytes);
  std::vector<Transfer> transfers;
  ForEachPeer([&](int peer) { transfers.push_back({true, peer, blocks + peer * bytes, bytes}); });
  ForEachPeer([&](int peer) { transfers.push_back({false, peer, mine, bytes}); });
  return Run(TagOf(Operation::kAllGather, ++collectives_, bytes, 0), transfers);
}

absl::Status GlooCommunicator::AllToAll(const void* send, void* receive, size_t bytes_per_block) {
  const size_t bytes = bytes_per_block;
  char* in = static_cast<char*>(receive);
  char* out = static_cast<char*>(const_cast<void*>(send));
  std::vector<Transfer> transfers;
  ForEachPeer([&](int peer) { transfers.push_back({true, peer, in + peer * bytes, bytes}); });
  ForEachPeer([&](int peer) { transfers.push_back({false, peer, out + peer * bytes, bytes}); });
  EVOGRAD_RETURN_IF_ERROR(Run(TagOf(Operation::kAllToAll, ++collectives_, bytes, 0), transfers));
  if (bytes > 0) std::memcpy(in + rank_ * bytes, out + rank_ * bytes, bytes);
  return absl::OkStatus();
}

absl::Status GlooCommunicator::Broadcast(void* data, size_t bytes, int root) {
  EVOGRAD_CHECK(0 <= root && root < size_, "the root is a rank");
  char* all = static_cast<char*>(data);
  if (size_ > 2 && bytes >= kLargeBroadcastBytes) return BroadcastInParts(all, bytes, root);
  std::vector<Transfer> transfers;
  if (rank_ == root) {
    ForEachPeer([&](int peer) { transfers.push_back({false, peer, all, bytes}); });
  } else {
    transfers.push_back({true, root, all, bytes});
  }
  return Run(TagOf(Operation::kBroadcast, ++collectives_, bytes, root), transfers);
}

absl::Status GlooCommunicator::BroadcastInParts(char* data, size_t bytes, int root) {
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
  EVOGRAD_RETURN_IF_ERROR(Run(TagOf(Operation::kScatter, ++collectives_, bytes, root), transfers));

  transfers.clear();
  ForEachPeer([&](int peer) {
    if (rank_ != root) transfers.push_back(part(true, peer, peer));
  });
  ForEachPeer([&](int peer) {
    if (peer != root) transfers.push_back(part(false, peer, rank_));
  });
  return Run(TagOf(Operation::kSpread, ++collectives_, bytes, root), transfers);
}

// What ranks tell each other first: that they are of one generation, and who they are.
struct Greeting {
  char secret[16];
  int32_t rank;
  int32_t size;
};

absl::Status ExchangeGreetings(const CommunicatorOptions& options, const std::string& secret,
                               const Rendezvous& rendezvous, Communicator& communicator) {
  std::vector<Greeting> greetings(options.size);
  const auto expected = [&](int rank) {
    Greeting greeting = {};
    secret.copy(greeting.secret, sizeof greeting.secret);
    greeting.rank = rank;
    greeting.size = options.size;
    return greeting;
  };
  const Greeting mine = expected(options.rank);
  absl::Status status;
  {
    ConnectWatch watch(rendezvous, absl::InfiniteFuture(), [&] { communicator.Abort(); });
    status = communicator.AllGather(&mine, greetings.data(), sizeof mine);
  }
  EVOGRAD_RETURN_IF_ERROR(status);
  for (int rank = 0; rank < options.size; ++rank) {
    const Greeting greeting = expected(rank);
    if (std::memcmp(&greetings[rank], &greeting, sizeof greeting) != 0) {
      return absl::UnavailableError(
          absl::StrCat("who answers for rank ", rank, " is not of this generation"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Communicator>> ConnectAndGreet(const CommunicatorOptions& options,
                                                              Rendezvous& rendezvous) {
  EVOGRAD_ASSIGN_OR_RETURN(GlooMesh mesh, ConnectGlooMesh(options, rendezvous));
  const std::string secret = mesh.secret;
  auto communicator = std::make_unique<GlooCommunicator>(options, std::move(mesh));
  EVOGRAD_RETURN_IF_ERROR(ExchangeGreetings(options, secret, rendezvous, *communicator));
  return communicator;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateGlooCommunicator(
    const CommunicatorOptions& options, Rendezvous& rendezvous) {
  EVOGRAD_CHECK(options.size >= 2 && 0 <= options.rank && options.rank < options.size,
                "Gloo connects two ranks or more");
  IgnoreSigpipe();
  auto communicator = ConnectAndGreet(options, rendezvous);
  if (!communicator.ok() && rendezvous.Ended()) {
    // Peers that heard of it first are gone already: that is no failure of theirs.
    return absl::AbortedError("the generation ended while its ranks connected");
  }
  return communicator;
}

}  // namespace evograd
