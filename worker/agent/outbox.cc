#include "worker/agent/outbox.h"

#include <utility>

namespace evograd::agent {

void Outbox::Open() {
  absl::MutexLock lock(&mutex_);
  messages_.clear();
  cutter_.Clear();
  heartbeat_.reset();
  overflowed_ = false;
  open_ = true;
  changed_.SignalAll();
}

void Outbox::Close() {
  absl::MutexLock lock(&mutex_);
  messages_.clear();
  cutter_.Clear();
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
    cutter_.Clear();
  } else {
    messages_.push_back(std::move(message));
  }
  changed_.SignalAll();
}

void Outbox::PushHeartbeat(v1::Heartbeat heartbeat) {
  absl::MutexLock lock(&mutex_);
  heartbeat_ = std::move(heartbeat);
  changed_.SignalAll();
}

bool Outbox::Take(v1::WorkerMessage* message) {
  absl::MutexLock lock(&mutex_);
  while (open_ && messages_.empty() && !cutter_.HasMore() && !heartbeat_.has_value()) {
    changed_.Wait(&mutex_);
  }
  if (!open_) return false;
  if (heartbeat_.has_value()) {
    *message->mutable_heartbeat() = *std::exchange(heartbeat_, absl::nullopt);
    return true;
  }
  if (!cutter_.HasMore()) {
    *message = std::move(messages_.front());
    messages_.pop_front();
    if (!cutter_.IsLong(*message)) return true;
    cutter_.Begin(*message);
  }
  *message = cutter_.Next();
  return true;
}

bool Outbox::overflowed() const {
  absl::MutexLock lock(&mutex_);
  return overflowed_;
}

}  // namespace evograd::agent
