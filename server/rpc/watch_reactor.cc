#include "server/rpc/watch_reactor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/core/job_state.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {

WatchReactor* WatchReactor::Begin(const Shared& shared, grpc::CallbackServerContext* context,
                                  const v1::WatchJobRequest& request) {
  std::shared_ptr<WatchReactor> reactor(new WatchReactor(shared, context));
  reactor->self_ = reactor;
  shared.watch->Add(reactor);
  if (request.after_sequence() < 0) {
    reactor->End(InvalidFields({{"after_sequence", absl::StrCat("is ", request.after_sequence(),
                                                                "; 0 means from the beginning")}}));
    return reactor.get();
  }
  GetJobInput input;
  input.request.set_name(request.name());
  shared.loop->Call(std::move(input),
                    [reactor, after = request.after_sequence()](
                        const absl::StatusOr<Answer>& answer) { reactor->Found(answer, after); });
  return reactor.get();
}

// On the loop's thread: a change of the job that comes later is told to the pump later.
void WatchReactor::Found(const absl::StatusOr<Answer>& answer, int64_t after_sequence) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (end_.finished) return;
  if (!answer.ok()) return FinishOnce(answer.status());
  const v1::Job& job = std::get<v1::Job>(*answer);
  // Under the mutex, so that a cancellation comes either before, and is seen above, or after, and
  // finds it in the pump.
  const absl::Status added = shared_.pump->Add(
      shared_from_this(), {job.uid(), after_sequence, IsEnded(job.state()), peer_});
  if (!added.ok()) FinishOnce(added);
}

void WatchReactor::Send(std::vector<v1::Event> events) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (end_.finished) return;
  for (v1::Event& event : events) *response_.add_events() = std::move(event);
  sending_since_ms_ = StallWatch::Now();
  StartWrite(&response_);
}

void WatchReactor::OnWriteDone(bool ok) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    sending_since_ms_ = 0;
    // A quiet watch keeps no memory.
    response_ = v1::WatchJobResponse();
  }
  if (ok) shared_.pump->Sent(this);
}

void WatchReactor::OnTime(int64_t now_ms) {
  const int64_t stall_ms = shared_.watch->stall_ms();
  bool stalled = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stalled = sending_since_ms_ != 0 && now_ms - sending_since_ms_ >= stall_ms && !end_.finished;
    if (stalled) {
      FinishOnce(MakeError(absl::StatusCode::kUnavailable,
                           absl::StrCat("the watcher read nothing for ", stall_ms / 1000,
                                        " s; watch again from the last event"),
                           "WATCHER_TOO_SLOW"));
    }
    end_.CutIfStuck(now_ms, stall_ms);
  }
  if (stalled) shared_.pump->Remove(this);
}

void WatchReactor::End(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  FinishOnce(status);
}

void WatchReactor::FinishOnce(const absl::Status& status) {
  if (end_.finished) return;
  end_.Finished();
  Finish(ToGrpc(status));
}

void WatchReactor::OnCancel() {
  End(absl::CancelledError("the watcher is gone"));
  shared_.pump->Remove(this);
}

void WatchReactor::OnDone() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_.done = true;
  }
  shared_.pump->Remove(this);
  const std::shared_ptr<WatchReactor> last = std::move(self_);
}

}  // namespace evograd
