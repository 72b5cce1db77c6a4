#include "worker/agent/rendezvous_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd::agent {

void RendezvousTable::Open(int64_t generation) {
  absl::MutexLock lock(&mutex_);
  generation_ = generation;
  values_.clear();
  changed_.SignalAll();
}

void RendezvousTable::Close() { Open(0); }

void RendezvousTable::Deliver(const std::string& key, const std::string& value) {
  absl::MutexLock lock(&mutex_);
  if (generation_ == 0 || values_.size() >= limits::kMaxRendezvousEntries) return;
  values_[key] = value;
  changed_.SignalAll();
}

absl::StatusOr<std::string> RendezvousTable::Wait(int64_t generation, const std::string& key,
                                                  absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  while (true) {
    if (generation_ != generation) {
      return absl::AbortedError(absl::StrCat("generation ", generation, " has ended"));
    }
    const auto found = values_.find(key);
    if (found != values_.end()) return found->second;
    if (changed_.WaitWithDeadline(&mutex_, deadline) && values_.count(key) == 0 &&
        generation_ == generation) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the other workers of generation ", generation, " were waited for in vain (`", key,
          "` did not come); a worker may still be reading its data, or cannot be reached"));
    }
  }
}

bool RendezvousTable::IsOpen(int64_t generation) const {
  absl::MutexLock lock(&mutex_);
  return generation_ == generation;
}

StreamRendezvous::StreamRendezvous(RendezvousTable* table, int64_t generation, Send send)
    : table_(table), generation_(generation), send_(std::move(send)) {}

absl::Status StreamRendezvous::Put(const std::string& key, const std::string& value) {
  if (key.empty() || key.size() > limits::kMaxRendezvousKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a rendezvous key has ", key.size(),
                                                   " bytes; 1 to ", limits::kMaxRendezvousKeyBytes,
                                                   " are allowed"));
  }
  if (value.size() > limits::kMaxRendezvousValueBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("rendezvous value of `", key, "` has ", value.size(), " bytes; at most ",
                     limits::kMaxRendezvousValueBytes, " are allowed"));
  }
  if (Ended()) {
    return absl::AbortedError(absl::StrCat("generation ", generation_, " has ended"));
  }
  send_(key, value);
  return absl::OkStatus();
}

absl::StatusOr<std::string> StreamRendezvous::Wait(const std::string& key, absl::Time deadline) {
  return table_->Wait(generation_, key, deadline);
}

bool StreamRendezvous::Ended() const { return !table_->IsOpen(generation_); }

}  // namespace evograd::agent
