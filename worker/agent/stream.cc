#include "worker/agent/stream.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "common/service_limits.h"
#include "worker/agent/steady_flag.h"

namespace evograd::agent {
namespace {

// Puts a heartbeat into the outbox at every interval, from construction to destruction.
class Heart {
 public:
  Heart(Outbox* outbox, std::function<v1::Heartbeat()> say, absl::Duration interval)
      : outbox_(outbox), say_(std::move(say)), interval_(interval), thread_([this] { Beat(); }) {}
  ~Heart() {
    stopped_.Set();
    thread_.join();
  }

 private:
  void Beat() {
    while (!stopped_.WaitFor(interval_)) {
      outbox_->PushHeartbeat(say_());
    }
  }

  Outbox* const outbox_;
  const std::function<v1::Heartbeat()> say_;
  const absl::Duration interval_;
  SteadyFlag stopped_;
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
      heart =
          std::make_unique<Heart>(outbox_, events.heartbeat, HeartbeatInterval(message.welcome()));
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
