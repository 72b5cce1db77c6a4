#include "server/rpc/stall_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace evograd {

StallWatch::StallWatch(int64_t stall_ms) : stall_ms_(stall_ms), thread_([this] { Run(); }) {}

StallWatch::~StallWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StallWatch::Add(std::weak_ptr<Watched> watched) {
  const std::lock_guard<std::mutex> lock(mutex_);
  watched_.push_back(std::move(watched));
}

int64_t StallWatch::Now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void StallWatch::Run() {
  const std::chrono::milliseconds interval(std::clamp<int64_t>(stall_ms_ / 10, 10, 1000));
  std::unique_lock<std::mutex> lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    const auto gone = [](const std::weak_ptr<Watched>& watched) { return watched.expired(); };
    watched_.erase(std::remove_if(watched_.begin(), watched_.end(), gone), watched_.end());
    const std::vector<std::weak_ptr<Watched>> looked_at = watched_;
    lock.unlock();
    for (const std::weak_ptr<Watched>& watched : looked_at) {
      if (const std::shared_ptr<Watched> one = watched.lock()) one->OnTime(Now());
    }
    lock.lock();
  }
}

}  // namespace evograd
