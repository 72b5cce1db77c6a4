#include "server/rpc/transfer_slots.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "spec/error.h"

namespace evograd {

absl::Status TransferSlots::Acquire(const std::string& key, Granted granted, int64_t* ticket) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!HasRoom(key)) {
      if (static_cast<int>(waiting_.size()) >= limits_.max_waiting) {
        return MakeError(
            absl::StatusCode::kResourceExhausted,
            absl::StrCat(taken_, " checkpoints are being transferred; try again in ", "a while"),
            "TOO_MANY_TRANSFERS");
      }
      waiting_[++last_ticket_] = {key, std::move(granted)};
      if (ticket != nullptr) *ticket = last_ticket_;
      return absl::OkStatus();
    }
    Count(key);
  }
  granted(std::make_unique<Slot>(this, key));
  return absl::OkStatus();
}

void TransferSlots::Forget(int64_t ticket) {
  // What it holds is destroyed when the mutex is free.
  Waiter forgotten;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto waiter = waiting_.find(ticket);
  if (waiter == waiting_.end()) return;
  forgotten = std::move(waiter->second);
  waiting_.erase(waiter);
}

bool TransferSlots::HasRoom(const std::string& key) const {
  const auto of_key = taken_by_key_.find(key);
  return taken_ < limits_.total &&
         (of_key == taken_by_key_.end() || of_key->second < limits_.per_key);
}

void TransferSlots::Count(const std::string& key) {
  ++taken_;
  ++taken_by_key_[key];
}

void TransferSlots::GiveBack(const std::string& key) {
  std::vector<Waiter> next;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    --taken_;
    if (--taken_by_key_[key] == 0) taken_by_key_.erase(key);
    for (auto waiter = waiting_.begin(); waiter != waiting_.end() && taken_ < limits_.total;) {
      if (!HasRoom(waiter->second.key)) {
        ++waiter;
        continue;
      }
      Count(waiter->second.key);
      next.push_back(std::move(waiter->second));
      waiter = waiting_.erase(waiter);
    }
  }
  for (const Waiter& waiter : next) waiter.granted(std::make_unique<Slot>(this, waiter.key));
}

}  // namespace evograd
