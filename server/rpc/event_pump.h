// Sends events to those who watch jobs: one thread reads them from the store, page after page, and
// hands each watcher its next page when it has sent the one before. A watcher that has everything
// waits until its job changes; a silent one is given an empty page every limits::kWatchKeepaliveMs.
// After the last event of an ended job it is told that this was all. One that does not read its
// page ends itself (WatchReactor).
//
// Threads: all functions from any; none blocks.
#ifndef EVOGRAD_SERVER_RPC_EVENT_PUMP_H_
#define EVOGRAD_SERVER_RPC_EVENT_PUMP_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "proto/evograd/v1/event.pb.h"
#include "server/store/store.h"

namespace evograd {

// The receiving side of one watch. Called from the pump's thread, one call at a time; must not
// block.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // The pump waits for EventPump::Sent before it hands over more.
  virtual void Send(std::vector<v1::Event> events) = 0;
  // Nothing comes after this. OK: the job has ended and everything was sent.
  virtual void End(const absl::Status& status) = 0;
};

class EventPump {
 public:
  explicit EventPump(std::unique_ptr<EventReader> reader, int64_t keepalive_ms);
  // Stops.
  ~EventPump();
  EventPump(const EventPump&) = delete;
  EventPump& operator=(const EventPump&) = delete;

  struct Watch {
    std::string job_uid;
    int64_t after_sequence = 0;
    // No event will be added.
    bool ended = false;
    // Who watches, as gRPC names connections.
    std::string peer;
  };

  // RESOURCE_EXHAUSTED: there are limits::kMaxWatchers, or too many of this peer or its host.
  // UNAVAILABLE: the pump is stopping.
  absl::Status Add(std::shared_ptr<EventSink> sink, Watch watch);
  // What was handed to the sink is sent.
  void Sent(EventSink* sink);
  // The watcher is gone.
  void Remove(EventSink* sink);

  // Events of the job were committed; with `ended`, its last ones.
  void JobChanged(const std::string& job_uid, bool ended);

  // Ends all watches with UNAVAILABLE.
  void Stop();

 private:
  struct Watcher {
    std::shared_ptr<EventSink> sink;
    Watch watch;
    bool sending = false;
    // There may be events that it has not been given.
    bool behind = true;
    int64_t last_sent_ms = 0;
  };

  // Whether one more fits. Requires mutex_.
  absl::Status Room(const std::string& peer) const;
  void Run();
  // The next watcher that wants something, if any. Requires mutex_.
  Watcher* Next(int64_t now_ms);
  void Serve(EventSink* key, const Watcher& seen);
  void Hand(EventSink* key, std::vector<v1::Event> events);

  const std::unique_ptr<EventReader> reader_;
  const int64_t keepalive_ms_;

  std::mutex mutex_;
  std::condition_variable wake_;
  // Protected by mutex_.
  std::map<EventSink*, Watcher> watchers_;
  bool stopping_ = false;

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_EVENT_PUMP_H_
