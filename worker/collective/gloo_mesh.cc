#include "worker/collective/gloo_mesh.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "gloo/transport/address.h"
#include "gloo/transport/tcp/device.h"
#include "worker/collective/local_address.h"

namespace evograd {
namespace {

// How soon an ended generation is noticed while ranks connect.
constexpr absl::Duration kLookEvery = absl::Milliseconds(50);

// Gloo's own limit of a connection attempt; ConnectWatch ends it long before.
constexpr std::chrono::milliseconds kGlooTimeout = std::chrono::hours(1);

constexpr char kSecretKey[] = "gloo/secret";

std::string AddressKey(int rank) { return absl::StrCat("gloo/address/", rank); }

std::string RandomSecret() {
  std::random_device random;
  std::string secret;
  for (int i = 0; i < 4; ++i) {
    const uint32_t word = random();
    secret.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  return secret;
}

// A rank listens on one port per peer, all on one address. Gloo's address begins with a sockaddr,
// whose port stands at the same place for IPv4 and IPv6; so one address and the ports say
// everything, in 2 bytes per peer instead of 136.
constexpr size_t kPortOffset = 2;
constexpr size_t kPortBytes = 2;

std::string PackAddresses(gloo::transport::Context& context, int rank, int size) {
  std::string packed;
  std::string ports;
  for (int peer = 0; peer < size; ++peer) {
    std::string port(kPortBytes, '\0');
    if (peer != rank) {
      const std::vector<char> bytes = context.getPair(peer)->address().bytes();
      if (packed.empty()) packed.assign(bytes.begin(), bytes.end());
      port.assign(bytes.begin() + kPortOffset, bytes.begin() + kPortOffset + kPortBytes);
    }
    ports += port;
  }
  return packed + ports;
}

// The address at which the sender of `packed` listens for `rank`.
absl::StatusOr<std::vector<char>> UnpackAddress(const std::string& packed, int rank, int size) {
  const size_t ports = size * kPortBytes;
  if (packed.size() < ports + kPortOffset + kPortBytes) {
    return absl::UnavailableError(absl::StrCat("a peer's rendezvous entry has ", packed.size(),
                                               " bytes, too few for the addresses of ", size,
                                               " ranks; do all run the same version?"));
  }
  std::vector<char> bytes(packed.begin(), packed.end() - ports);
  const char* port = packed.data() + packed.size() - ports + rank * kPortBytes;
  std::copy(port, port + kPortBytes, bytes.begin() + kPortOffset);
  return bytes;
}

// While it lives, threads that the calling one starts do not push a running thread off its core
// when they are woken.
//
// Gloo's thread spins while the caller of a collective holds a connection's lock. Where ranks share
// cores (one worker per core, each with such a thread), a caller that is pushed off in that moment
// costs everybody a scheduler's tick: measured with 4 ranks on 2 cores, an all-gather of a float
// took 9 ms instead of 0.4.
class BatchThreads {
 public:
  BatchThreads() {
    if (pthread_getschedparam(pthread_self(), &policy_, &parameters_) == 0 &&
        policy_ == SCHED_OTHER) {
      changed_ = pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters_) == 0;
    }
  }
  ~BatchThreads() {
    if (changed_) pthread_setschedparam(pthread_self(), policy_, &parameters_);
  }
  BatchThreads(const BatchThreads&) = delete;
  BatchThreads& operator=(const BatchThreads&) = delete;

 private:
  int policy_ = SCHED_OTHER;
  sched_param parameters_ = {};
  bool changed_ = false;
};

absl::StatusOr<GlooMesh> Listen(const CommunicatorOptions& options, const std::string& address) {
  GlooMesh mesh;
  try {
    BatchThreads batch;
    mesh.device = gloo::transport::tcp::CreateDevice(gloo::transport::tcp::attr(address.c_str()));
    mesh.context = mesh.device->createContext(options.rank, options.size);
    mesh.context->setTimeout(kGlooTimeout);
    for (int peer = 0; peer < options.size; ++peer) {
      if (peer != options.rank) mesh.context->createPair(peer);
    }
  } catch (const std::exception& e) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, " for the other ranks: ", e.what()));
  }
  return mesh;
}

absl::Status Connect(const CommunicatorOptions& options, gloo::transport::Context& context,
                     const std::vector<std::string>& packed) {
  // In the order of ranks: so the two ends of the first missing connection always wait for each
  // other.
  for (int peer = 0; peer < options.size; ++peer) {
    if (peer == options.rank) continue;
    EVOGRAD_ASSIGN_OR_RETURN(std::vector<char> address,
                             UnpackAddress(packed[peer], options.rank, options.size));
    try {
      context.getPair(peer)->connect(address);
    } catch (const std::exception& e) {
      return absl::UnavailableError(absl::StrCat("cannot connect to rank ", peer, ": ", e.what()));
    }
  }
  return absl::OkStatus();
}

void CloseAll(gloo::transport::Context& context, int rank, int size) {
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    try {
      context.getPair(peer)->close();
    } catch (const std::exception&) {
      // It was not open.
    }
  }
}

}  // namespace

ConnectWatch::ConnectWatch(const Rendezvous& rendezvous, absl::Time deadline,
                           std::function<void()> give_up)
    : rendezvous_(rendezvous),
      deadline_(deadline),
      give_up_(std::move(give_up)),
      thread_([this] { Watch(); }) {}

ConnectWatch::~ConnectWatch() {
  {
    absl::MutexLock lock(&mutex_);
    done_ = true;
  }
  thread_.join();
}

absl::Status ConnectWatch::status() const {
  absl::MutexLock lock(&mutex_);
  return status_;
}

void ConnectWatch::Watch() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithDeadline(absl::Condition(&done_),
                                   std::min(deadline_, absl::Now() + kLookEvery))) {
        return;
      }
      if (rendezvous_.Ended()) {
        status_ = absl::AbortedError("the generation ended while its ranks connected");
      } else if (absl::Now() >= deadline_) {
        status_ = absl::DeadlineExceededError("the ranks did not connect with each other in time");
      }
      if (status_.ok()) continue;
    }
    give_up_();
    return;
  }
}

absl::StatusOr<GlooMesh> ConnectGlooMesh(const CommunicatorOptions& options,
                                         Rendezvous& rendezvous) {
  const absl::Time deadline = absl::Now() + options.rendezvous_timeout;
  EVOGRAD_ASSIGN_OR_RETURN(const std::string address, LocalAddress(options.interface_address));
  EVOGRAD_ASSIGN_OR_RETURN(GlooMesh mesh, Listen(options, address));
  if (options.rank == 0) EVOGRAD_RETURN_IF_ERROR(rendezvous.Put(kSecretKey, RandomSecret()));
  EVOGRAD_RETURN_IF_ERROR(rendezvous.Put(AddressKey(options.rank),
                                         PackAddresses(*mesh.context, options.rank, options.size)));

  EVOGRAD_ASSIGN_OR_RETURN(mesh.secret, rendezvous.Wait(kSecretKey, deadline));
  std::vector<std::string> packed(options.size);
  for (int peer = 0; peer < options.size; ++peer) {
    if (peer == options.rank) continue;
    EVOGRAD_ASSIGN_OR_RETURN(packed[peer], rendezvous.Wait(AddressKey(peer), deadline));
  }
  absl::Status status;
  {
    ConnectWatch watch(rendezvous, absl::Now() + options.timeout,
                       [&] { CloseAll(*mesh.context, options.rank, options.size); });
    status = Connect(options, *mesh.context, packed);
    if (!watch.status().ok()) status = watch.status();
  }
  if (!status.ok()) return status;
  return mesh;
}

}  // namespace evograd
