#include "worker/collective/in_memory_rendezvous.h"

#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

absl::Status EndedError() {
  return absl::AbortedError("the generation ended while its ranks looked for each other");
}

}  // namespace

absl::Status InMemoryRendezvous::Put(const std::string& key, const std::string& value) {
  if (key.size() > limits::kMaxRendezvousKeyBytes ||
      value.size() > limits::kMaxRendezvousValueBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rendezvous entry of ", key.size(), " + ", value.size(), " bytes: at most ",
        limits::kMaxRendezvousKeyBytes, " + ", limits::kMaxRendezvousValueBytes, " are allowed"));
  }
  absl::MutexLock lock(&mutex_);
  if (ended_) return EndedError();
  values_[key] = value;
  return absl::OkStatus();
}

absl::StatusOr<std::string> InMemoryRendezvous::Wait(const std::string& key, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const auto there = [this, &key]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ended_ || values_.contains(key);
  };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&there), deadline)) {
    return absl::DeadlineExceededError(
        absl::StrCat("no rank put the rendezvous entry '", key, "' in time"));
  }
  if (ended_) return EndedError();
  return values_[key];
}

bool InMemoryRendezvous::Ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

void InMemoryRendezvous::End() {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
}

}  // namespace evograd
