// The entries through which the ranks of the present generation find each other, as they come in
// over the worker's stream.
//
// Threads: any.
#ifndef EVOGRAD_WORKER_AGENT_RENDEZVOUS_TABLE_H_
#define EVOGRAD_WORKER_AGENT_RENDEZVOUS_TABLE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/collective/communicator.h"

namespace evograd::agent {

class RendezvousTable {
 public:
  // Begins empty, for a new generation.
  void Open(int64_t generation);
  // Who waits is told ABORTED.
  void Close();
  // Past the bound on their number entries are dropped: more than all ranks together put.
  void Deliver(const std::string& key, const std::string& value);

  // DEADLINE_EXCEEDED, or ABORTED where `generation` is not the open one.
  absl::StatusOr<std::string> Wait(int64_t generation, const std::string& key, absl::Time deadline);
  bool IsOpen(int64_t generation) const;

 private:
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  // 0: none.
  int64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mutex_);
};

// One generation's face of the table, for a communicator's factory. Put: INVALID_ARGUMENT for a key
// or value beyond the limits; what `send` makes of it is not waited for.
class StreamRendezvous : public Rendezvous {
 public:
  using Send = std::function<void(const std::string& key, const std::string& value)>;

  StreamRendezvous(RendezvousTable* table, int64_t generation, Send send);

  absl::Status Put(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Time deadline) override;
  bool Ended() const override;

 private:
  RendezvousTable* const table_;
  const int64_t generation_;
  const Send send_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_RENDEZVOUS_TABLE_H_
