#include "server/rpc/watch_reactor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "server/core/job_state.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {

WatchReactor* WatchReactor::Begin(CoordinatorLoop* loop, EventPump* pump,
                                  const v1::WatchJobRequest& request) {
  std::shared_ptr<WatchReactor> reactor(new WatchReactor(pump));
  reactor->self_ = reactor;
  if (request.after_sequence() < 0) {
    reactor->End(InvalidFields({{"after_sequence", absl::StrCat("is ", request.after_sequence(),
                                                                "; 0 means from the beginning")}}));
    return reactor.get();
  }
  GetJobInput input;
  input.request.set_name(request.name());
  loop->Call(std::move(input),
             [reactor, after = request.after_sequence()](const absl::StatusOr<Answer>& answer) {
               reactor->Found(answer, after);
             });
  return reactor.get();
}

// On the loop's thread: a change of the job that comes later is told to the pump later.
void WatchReactor::Found(const absl::StatusOr<Answer>& answer, int64_t after_sequence) {
  if (!answer.ok()) return End(answer.status());
  const v1::Job& job = std::get<v1::Job>(*answer);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_) return;
  }
  if (pump_.Add(shared_from_this(), job.uid(), after_sequence, IsEnded(job.state()))) return;
  End(MakeError(absl::StatusCode::kResourceExhausted,
                absl::StrCat("the coordinator serves ", limits::kMaxWatchers,
                             " watches at once, or is stopping; try again later"),
                "TOO_MANY_WATCHES"));
}

void WatchReactor::Send(std::vector<v1::Event> events) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (finished_) return;
  response_.clear_events();
  for (v1::Event& event : events) *response_.add_events() = std::move(event);
  StartWrite(&response_);
}

void WatchReactor::End(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (finished_) return;
  finished_ = true;
  Finish(ToGrpc(status));
}

void WatchReactor::OnWriteDone(bool ok) {
  if (ok) pump_.Sent(this);
}

void WatchReactor::OnCancel() {
  pump_.Remove(this);
  End(absl::CancelledError("the watcher is gone"));
}

void WatchReactor::OnDone() {
  pump_.Remove(this);
  const std::shared_ptr<WatchReactor> last = std::move(self_);
}

}  // namespace evograd
