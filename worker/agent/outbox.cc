#include "worker/agent/outbox.h"

#include <utility>

namespace evograd::agent {

void Outbox::Open() {
  absl::MutexLock lock(&mutex_);
  messages_.clear();
  heartbeat_due_ = false;
  overflowed_ = false;
  open_ = true;
  changed_.SignalAll();
}

void Outbox::Close() {
  absl::MutexLock lock(&mutex_);
  messages_.clear();
  open_ = false;
  changed_.SignalAll();
}

void Outbox::Push(v1::WorkerMessage message) {
  absl::MutexLock lock(&mutex_);
  if (!open_) return;
  if (messages_.size() == capacity_) {
    overflowed_ = true;
    open_ = false;
    messages_.clear();
  } else {
    messages_.push_back(std::move(message));
  }
  changed_.SignalAll();
}

void Outbox::PushHeartbeat() {
  absl::MutexLock lock(&mutex_);
  heartbeat_due_ = true;
  changed_.SignalAll();
}

bool Outbox::Take(v1::WorkerMessage* message) {
  absl::MutexLock lock(&mutex_);
  while (open_ && messages_.empty() && !heartbeat_due_) changed_.Wait(&mutex_);
  if (!open_) return false;
  if (std::exchange(heartbeat_due_, false)) {
    message->mutable_heartbeat();
    return true;
  }
  *message = std::move(messages_.front());
  messages_.pop_front();
  return true;
}

bool Outbox::overflowed() const {
  absl::MutexLock lock(&mutex_);
  return overflowed_;
}

}  // namespace evograd::agent
