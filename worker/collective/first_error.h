// The one error that broke a communicator: whoever comes first sets it, everybody gets that one
// from then on.
//
// Any thread may call anything.
#ifndef EVOGRAD_WORKER_COLLECTIVE_FIRST_ERROR_H_
#define EVOGRAD_WORKER_COLLECTIVE_FIRST_ERROR_H_

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace evograd {

class FirstError {
 public:
  // Keeps `error`, which is not OK, unless there is one already.
  void Set(absl::Status error) {
    absl::MutexLock lock(&mutex_);
    if (status_.ok()) status_ = std::move(error);
  }

  // OK while nothing failed.
  absl::Status Get() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_FIRST_ERROR_H_
