// Ranks that are threads of one process; data moves by memcpy straight from a peer's buffer.
//
//   std::vector<std::unique_ptr<InProcessCommunicator>> ranks =
//   InProcessCommunicator::CreateGroup(3, timeout);
//   // thread r drives ranks[r]
//
// See communicator.h for the contract. A rank counts as gone when its communicator is destroyed or
// killed. With one rank nothing waits and nothing is shared.
#ifndef EVOGRAD_WORKER_COLLECTIVE_IN_PROCESS_COMMUNICATOR_H_
#define EVOGRAD_WORKER_COLLECTIVE_IN_PROCESS_COMMUNICATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "worker/collective/communicator.h"
#include "worker/collective/first_error.h"

namespace evograd {

class InProcessCommunicator : public Communicator {
 public:
  static std::vector<std::unique_ptr<InProcessCommunicator>> CreateGroup(int size,
                                                                         absl::Duration timeout);
  ~InProcessCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Memory memory() const override { return Memory::kHost; }

  absl::Status AllGather(const void* send, void* receive, size_t bytes) override;
  absl::Status AllToAll(const void* send, void* receive, size_t bytes_per_block) override;
  absl::Status Broadcast(void* data, size_t bytes, int root) override;
  void Abort() override;

  // As if this rank's process had ended: its own calls fail with ABORTED, its peers' with
  // UNAVAILABLE.
  void Kill();

 private:
  struct Group;
  // What two ranks must agree on to take part in the same collective.
  struct Signature;

  InProcessCommunicator(std::shared_ptr<Group> group, int rank, int size, absl::Duration timeout);

  // Shows `mine` to the peers, calls `copy` with every rank's buffer when all have come, and
  // returns when all have copied.
  absl::Status Run(const Signature& signature, const void* mine,
                   const std::function<void(const std::vector<const char*>&)>& copy);

  const std::shared_ptr<Group> group_;
  const int rank_;
  const int size_;
  const absl::Duration timeout_;
  FirstError error_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_IN_PROCESS_COMMUNICATOR_H_
