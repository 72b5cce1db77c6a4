// A group of ranks that exchange bytes: the data plane of one generation.
//
// Three implementations behave alike and share one conformance suite: in-process (threads of one
// process), TCP (CPU) and NCCL (CUDA). A communicator belongs to one generation and is thrown
// away with it.
//
// Threads: collectives are called by one thread at a time, in the same order on every rank; Abort()
// by any thread at any moment. Memory: host memory for in-process and TCP, device memory for NCCL
// (see `memory()`).
//
// Errors of every collective: UNAVAILABLE when a peer is gone, DEADLINE_EXCEEDED when it did not
// end within `Options::timeout`, ABORTED after Abort(). After any error the communicator is broken:
// every further call fails at once with the same error. No call blocks longer than the timeout + 5
// s. The first two carry the ranks that this one waited for or lost, where that is known
// (suspects.h).
#ifndef EVOGRAD_WORKER_COLLECTIVE_COMMUNICATOR_H_
#define EVOGRAD_WORKER_COLLECTIVE_COMMUNICATOR_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace evograd {

class Communicator {
 public:
  enum class Memory { kHost, kCuda };

  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual Memory memory() const = 0;

  // Every rank's `bytes` bytes, in rank order, at `receive` (size() * bytes). `send` may be one of
  // the blocks of `receive`; block rank() saves a copy. With 0 bytes this is a barrier.
  virtual absl::Status AllGather(const void* send, void* receive, size_t bytes) = 0;

  // Block r of `send` goes to rank r; block r of `receive` comes from rank r. Both hold size()
  // blocks of `bytes_per_block` and do not overlap.
  virtual absl::Status AllToAll(const void* send, void* receive, size_t bytes_per_block) = 0;

  // `root`'s bytes to everybody.
  virtual absl::Status Broadcast(void* data, size_t bytes, int root) = 0;

  // Makes the running collective and all later ones fail with ABORTED. Returns without waiting for
  // them.
  virtual void Abort() = 0;
};

// A small shared table through which the ranks of one generation find each other; the agent carries
// it over the worker's stream to the coordinator.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  virtual absl::Status Put(const std::string& key, const std::string& value) = 0;
  // Waits for `key`. DEADLINE_EXCEEDED, or ABORTED when the generation ends first.
  virtual absl::StatusOr<std::string> Wait(const std::string& key, absl::Time deadline) = 0;
  // True once the generation has ended: a communicator that is still connecting then gives up with
  // ABORTED.
  virtual bool Ended() const { return false; }
};

struct CommunicatorOptions {
  int rank = 0;
  int size = 1;
  // Of each collective.
  absl::Duration timeout = absl::Seconds(60);
  // Of finding each other.
  absl::Duration rendezvous_timeout = absl::Minutes(5);
  // Of connecting, once all have found each other: that waits for nobody's work, whatever the
  // collectives wait for.
  absl::Duration connect_timeout = absl::Seconds(60);
  // TCP: the address of this host that peers dial; empty: 127.0.0.1.
  std::string interface_address;
  // NCCL: the CUDA device.
  int cuda_device = 0;
  // NCCL: the cudaStream_t in whose order buffers are read and written; null: the default stream.
  void* cuda_stream = nullptr;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_COMMUNICATOR_H_
