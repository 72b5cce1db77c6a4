// A Rendezvous for ranks that are threads of one process: tests, and workers started by one
// program.
//
// Any thread may call anything. Put: INVALID_ARGUMENT for a key or value beyond the limits of
// common/limits.h, ABORTED after End().
#ifndef EVOGRAD_WORKER_COLLECTIVE_IN_MEMORY_RENDEZVOUS_H_
#define EVOGRAD_WORKER_COLLECTIVE_IN_MEMORY_RENDEZVOUS_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "worker/collective/communicator.h"

namespace evograd {

class InMemoryRendezvous : public Rendezvous {
 public:
  absl::Status Put(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Time deadline) override;
  bool Ended() const override;

  // The generation has ended: everybody who waits, now or later, gets ABORTED.
  void End();

 private:
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::string> values_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_IN_MEMORY_RENDEZVOUS_H_
