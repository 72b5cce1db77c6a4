#include "worker/agent/stream.h"

#include <algorithm>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/service_limits.h"

namespace evograd::agent {
namespace {

// Puts a heartbeat into the outbox at every interval, from construction to destruction.
class Heart {
 public:
  Heart(Outbox* outbox, absl::Duration interval)
      : outbox_(outbox), interval_(interval), thread_([this] { Beat(); }) {}
  ~Heart() {
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
    }
    thread_.join();
  }

 private:
  void Beat() {
    absl::MutexLock lock(&mutex_);
    while (!mutex_.AwaitWithTimeout(absl::Condition(&stopped_), interval_)) {
      outbox_->PushHeartbeat();
    }
  }

  Outbox* const outbox_;
  const absl::Duration interval_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// What the coordinator asks for, within reason.
absl::Duration HeartbeatInterval(const v1::Welcome& welcome) {
  const int asked = welcome.heartbeat_interval_ms();
  return absl::Milliseconds(std::clamp(asked > 0 ? asked : limits::kHeartbeatIntervalMs, 10,
                                       limits::kHeartbeatTimeoutMs));
}

}  // namespace

Stream::Stream(v1::WorkerService::StubInterface* stub, Outbox* outbox)
    : stub_(stub), outbox_(outbox) {}

Stream::End Stream::Run(const Events& events) {
  const auto wire = stub_->Connect(&context_);
  outbox_->Open();
  events.up();
  std::thread writer([&] { Write(wire.get()); });
  std::unique_ptr<Heart> heart;
  End end;
  v1::CoordinatorMessage message;
  while (wire->Read(&message)) {
    if (message.has_welcome() && heart == nullptr) {
      end.welcomed = true;
      heart = std::make_unique<Heart>(outbox_, HeartbeatInterval(message.welcome()));
    }
    events.message(message);
  }
  heart = nullptr;
  outbox_->Close();
  // A write that waits ends with the stream, whose end was just read.
  writer.join();
  events.down();
  end.status = wire->Finish();
  if (end.status.ok()) {
    end.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the coordinator closed the stream");
  }
  return end;
}

void Stream::Write(Wire* wire) {
  v1::WorkerMessage message;
  while (outbox_->Take(&message)) {
    if (!wire->Write(message)) return;
    message.Clear();
  }
  if (outbox_->overflowed()) Cancel();
}

}  // namespace evograd::agent
