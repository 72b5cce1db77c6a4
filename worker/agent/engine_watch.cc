#include "worker/agent/engine_watch.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <string>
#include <utility>

namespace evograd::agent {
namespace {

using Seconds = std::chrono::duration<double>;

// A process whose engine stands still uses less: heartbeats take some 0.1 %. One that computes has
// more even where fifty of them share a core.
constexpr double kMovingShare = 0.01;

// Heartbeats and the like read some hundred bytes a second.
constexpr int64_t kMovingBytes = 1 << 20;

// Heartbeats further apart: the whole process stood still (a paused machine), not its engine alone.
constexpr auto kPaused = std::chrono::seconds(5);

class WatchedCommunicator : public Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<Communicator> communicator, EngineWatch* watch)
      : communicator_(std::move(communicator)), watch_(*watch) {}

  int rank() const override { return communicator_->rank(); }
  int size() const override { return communicator_->size(); }
  Memory memory() const override { return communicator_->memory(); }

  absl::Status AllGather(const void* send, void* receive, size_t bytes) override {
    return Wait([&] { return communicator_->AllGather(send, receive, bytes); });
  }
  absl::Status AllToAll(const void* send, void* receive, size_t bytes_per_block) override {
    return Wait([&] { return communicator_->AllToAll(send, receive, bytes_per_block); });
  }
  absl::Status Broadcast(void* data, size_t bytes, int root) override {
    return Wait([&] { return communicator_->Broadcast(data, bytes, root); });
  }
  void Abort() override { communicator_->Abort(); }

 private:
  template <typename Collective>
  absl::Status Wait(const Collective& collective) {
    watch_.Waits(std::chrono::steady_clock::now());
    const absl::Status status = collective();
    watch_.GoesOn(std::chrono::steady_clock::now());
    return status;
  }

  const std::unique_ptr<Communicator> communicator_;
  EngineWatch& watch_;
};

}  // namespace

void EngineWatch::Does(const std::string& what, Time now) {
  absl::MutexLock lock(&mutex_);
  doing_ = what;
  waiting_ = false;
  began_ = moved_ = now;
  moved_processor_ = ProcessorSeconds();
}

void EngineWatch::Waits(Time now) {
  absl::MutexLock lock(&mutex_);
  waiting_ = true;
  waits_since_ = now;
}

void EngineWatch::GoesOn(Time now) {
  absl::MutexLock lock(&mutex_);
  waiting_ = false;
  moved_ = now;
  moved_processor_ = ProcessorSeconds();
}

void EngineWatch::Fetches(bool fetching) {
  absl::MutexLock lock(&mutex_);
  fetching_ = fetching;
}

void EngineWatch::Stores(const std::string& what, Time now) {
  absl::MutexLock lock(&mutex_);
  storing_ = what;
  stores_since_ = now;
}

v1::Heartbeat EngineWatch::Look(Time now, double processor_seconds, int64_t read_bytes) {
  absl::MutexLock lock(&mutex_);
  // The engine may have begun something since the caller looked at the clock.
  now = std::max({now, since_, moved_});
  v1::Heartbeat heartbeat;
  const bool paused = now - std::exchange(looked_, now) > kPaused;
  if (doing_.empty()) {
    if (storing_.empty()) return heartbeat;
    heartbeat.set_doing(storing_);
    heartbeat.set_doing_seconds(Seconds(now - stores_since_).count());
    return heartbeat;
  }
  const double still = Seconds(now - moved_).count();
  if (paused || fetching_ || processor_seconds - moved_processor_ > kMovingShare * still ||
      read_bytes - moved_read_ > kMovingBytes) {
    moved_ = now;
    moved_processor_ = processor_seconds;
    moved_read_ = read_bytes;
  }
  heartbeat.set_doing(doing_);
  heartbeat.set_waiting(waiting_);
  heartbeat.set_doing_seconds(Seconds(now - (waiting_ ? waits_since_ : began_)).count());
  if (!waiting_) heartbeat.set_still_seconds(Seconds(now - moved_).count());
  return heartbeat;
}

double ProcessorSeconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

int64_t ReadBytes() {
  std::ifstream counts("/proc/self/io");
  std::string name;
  int64_t bytes = 0;
  return counts >> name >> bytes && name == "rchar:" ? bytes : 0;
}

std::unique_ptr<Communicator> Watched(std::unique_ptr<Communicator> communicator,
                                      EngineWatch* watch) {
  return std::make_unique<WatchedCommunicator>(std::move(communicator), watch);
}

}  // namespace evograd::agent
