#include "server/rpc/event_pump.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/core/refusals.h"
#include "server/rpc/peer_name.h"
#include "spec/error.h"

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

absl::Status EventPump::Room(const std::string& peer) const {
  if (stopping_) return CoordinatorStopping();
  const std::string host = HostOf(peer);
  int of_peer = 0, of_host = 0;
  for (const auto& [sink, watcher] : watchers_) {
    of_peer += watcher.watch.peer == peer;
    of_host += HostOf(watcher.watch.peer) == host;
  }
  const auto refuse = [](int count, const char* who) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat("the coordinator serves ", count, " watches at once", who,
                                  "; try again later"),
                     "TOO_MANY_WATCHES");
  };
  if (watchers_.size() >= limits::kMaxWatchers) return refuse(limits::kMaxWatchers, "");
  if (NamesConnection(peer) && of_peer >= limits::kMaxWatchersPerConnection) {
    return refuse(limits::kMaxWatchersPerConnection, " to one connection");
  }
  if (of_host >= limits::kMaxWatchersPerHost) {
    return refuse(limits::kMaxWatchersPerHost, " to one host");
  }
  return absl::OkStatus();
}

absl::Status EventPump::Add(std::shared_ptr<EventSink> sink, Watch watch) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    EVOGRAD_RETURN_IF_ERROR(Room(watch.peer));
    EventSink* key = sink.get();
    watchers_[key] = Watcher{std::move(sink), std::move(watch), false, true, MonotonicMs()};
  }
  wake_.notify_one();
  return absl::OkStatus();
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
      if (watcher.watch.job_uid != job_uid) continue;
      watcher.behind = true;
      watcher.watch.ended = watcher.watch.ended || ended;
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
  absl::StatusOr<std::vector<v1::Event>> events =
      reader_->Read(seen.watch.job_uid, seen.watch.after_sequence, limits::kMaxEventsPerMessage,
                    limits::kWatchPageBytes);
  if (!events.ok() || (events->empty() && seen.watch.ended)) {
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
      watcher->second.watch.after_sequence = events.back().sequence();
      // There may be another page.
      watcher->second.behind = true;
    }
  }
  sink->Send(std::move(events));
}

}  // namespace evograd
