#include "server/rpc/event_pump.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/service_limits.h"
#include "server/core/refusals.h"

namespace evograd {
namespace {

int64_t MonotonicMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

EventPump::EventPump(std::unique_ptr<EventReader> reader, int64_t keepalive_ms)
    : reader_(std::move(reader)), keepalive_ms_(keepalive_ms), thread_([this] { Run(); }) {}

EventPump::~EventPump() { Stop(); }

bool EventPump::Add(std::shared_ptr<EventSink> sink, const std::string& job_uid,
                    int64_t after_sequence, bool ended) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ || watchers_.size() >= limits::kMaxWatchers) return false;
    EventSink* key = sink.get();
    watchers_[key] =
        Watcher{std::move(sink), job_uid, after_sequence, ended, false, true, MonotonicMs()};
  }
  wake_.notify_one();
  return true;
}

void EventPump::Sent(EventSink* sink) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto watcher = watchers_.find(sink);
    if (watcher == watchers_.end()) return;
    watcher->second.sending = false;
    watcher->second.last_sent_ms = MonotonicMs();
  }
  wake_.notify_one();
}

void EventPump::Remove(EventSink* sink) {
  // The last reference may be this one: it is dropped when the mutex is free.
  std::shared_ptr<EventSink> removed;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto watcher = watchers_.find(sink);
  if (watcher == watchers_.end()) return;
  removed = std::move(watcher->second.sink);
  watchers_.erase(watcher);
}

void EventPump::JobChanged(const std::string& job_uid, bool ended) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [sink, watcher] : watchers_) {
      if (watcher.job_uid != job_uid) continue;
      watcher.behind = true;
      watcher.ended = watcher.ended || ended;
    }
  }
  wake_.notify_one();
}

void EventPump::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  const std::lock_guard<std::mutex> lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

// ---- The pump's thread -----------------------------------------------------------------------

EventPump::Watcher* EventPump::Next(int64_t now_ms) {
  // Who has waited longest comes first, so that a long history keeps nobody else waiting.
  Watcher* next = nullptr;
  for (auto& [sink, watcher] : watchers_) {
    const bool silent = now_ms - watcher.last_sent_ms >= keepalive_ms_;
    if (watcher.sending || !(watcher.behind || silent)) continue;
    if (next == nullptr || watcher.last_sent_ms < next->last_sent_ms) next = &watcher;
  }
  return next;
}

void EventPump::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    Watcher* next = Next(MonotonicMs());
    if (next == nullptr) {
      wake_.wait_for(lock, std::chrono::milliseconds(std::min<int64_t>(keepalive_ms_, 1000)));
      continue;
    }
    // What comes while it is being read makes it behind again.
    next->behind = false;
    next->sending = true;
    const Watcher seen = *next;
    lock.unlock();
    Serve(seen.sink.get(), seen);
    lock.lock();
  }
  std::map<EventSink*, Watcher> left;
  left.swap(watchers_);
  lock.unlock();
  for (const auto& [sink, watcher] : left) sink->End(CoordinatorStopping());
}

void EventPump::Serve(EventSink* key, const Watcher& seen) {
  absl::StatusOr<std::vector<v1::Event>> events = reader_->Read(
      seen.job_uid, seen.after_sequence, limits::kMaxEventsPerMessage, limits::kMaxEventBytes);
  if (!events.ok() || (events->empty() && seen.ended)) {
    Remove(key);
    return seen.sink->End(events.status());
  }
  const bool silent = MonotonicMs() - seen.last_sent_ms >= keepalive_ms_;
  if (!events->empty() || silent) return Hand(key, *std::move(events));
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto watcher = watchers_.find(key);
  if (watcher != watchers_.end()) watcher->second.sending = false;
}

void EventPump::Hand(EventSink* key, std::vector<v1::Event> events) {
  std::shared_ptr<EventSink> sink;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto watcher = watchers_.find(key);
    if (watcher == watchers_.end()) return;
    sink = watcher->second.sink;
    if (!events.empty()) {
      watcher->second.after_sequence = events.back().sequence();
      // There may be another page.
      watcher->second.behind = true;
    }
  }
  sink->Send(std::move(events));
}

}  // namespace evograd
