// A bounded number of things that may run at once, in the order in which they were asked for; those
// of one key (a job, a host) have a bound of their own, so that no key takes all.
//
// Threads: all functions from any.
#ifndef EVOGRAD_SERVER_RPC_TRANSFER_SLOTS_H_
#define EVOGRAD_SERVER_RPC_TRANSFER_SLOTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace evograd {

class TransferSlots {
 public:
  struct Limits {
    int total = 1;
    int per_key = 1;
    // How many may wait; past it they are refused.
    int max_waiting = 0;
  };

  // One place, while it lives.
  class Slot {
   public:
    Slot(TransferSlots* slots, std::string key) : slots_(*slots), key_(std::move(key)) {}
    ~Slot() { slots_.GiveBack(key_); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    TransferSlots& slots_;
    const std::string key_;
  };
  using Granted = std::function<void(std::unique_ptr<Slot>)>;

  // Outlives its slots.
  explicit TransferSlots(const Limits& limits) : limits_(limits) {}

  // `granted` is called once, here or later by the thread that gives a slot back.
  // RESOURCE_EXHAUSTED: all are taken and no more may wait; `granted` is not called. `ticket` (may
  // be null) is set before `granted` can be called.
  absl::Status Acquire(const std::string& key, Granted granted, int64_t* ticket);
  // Waits no more; nothing where it was granted already.
  void Forget(int64_t ticket);

 private:
  struct Waiter {
    std::string key;
    Granted granted;
  };

  // Both require mutex_.
  bool HasRoom(const std::string& key) const;
  void Count(const std::string& key);

  void GiveBack(const std::string& key);

  const Limits limits_;
  std::mutex mutex_;
  // Protected by mutex_.
  int taken_ = 0;
  std::map<std::string, int> taken_by_key_;
  // By ticket, so in their order.
  std::map<int64_t, Waiter> waiting_;
  int64_t last_ticket_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_TRANSFER_SLOTS_H_
