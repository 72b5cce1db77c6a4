#include "client/lib/job_watcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/lib/backoff.h"
#include "client/lib/grpc_status.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

// After which a pause looks whether it was cancelled.
constexpr absl::Duration kTurn = absl::Milliseconds(50);

}  // namespace

JobWatcher::JobWatcher(std::shared_ptr<grpc::Channel> channel, std::string address, std::string job,
                       int64_t after_sequence, WatchOptions options)
    : channel_(std::move(channel)),
      stub_(v1::JobService::NewStub(channel_)),
      address_(std::move(address)),
      job_(std::move(job)),
      options_(options),
      sequence_(after_sequence) {}

JobWatcher::~JobWatcher() {
  if (reader_ == nullptr) return;
  Cancel();
  reader_->Finish();
}

void JobWatcher::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

absl::Status JobWatcher::Open() {
  v1::WatchJobRequest request;
  request.set_name(job_);
  request.set_after_sequence(sequence_);
  absl::MutexLock lock(&mutex_);
  if (cancelled_) return absl::CancelledError("the watch was cancelled");
  context_ = std::make_unique<grpc::ClientContext>();
  if (options_.deadline != absl::InfiniteFuture()) {
    context_->set_deadline(absl::ToChronoTime(options_.deadline));
  }
  reader_ = stub_->WatchJob(context_.get(), request);
  return absl::OkStatus();
}

absl::Status JobWatcher::AfterError(const grpc::Status& error) {
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("the watch was cancelled");
  }
  const absl::Time now = absl::Now();
  const bool timed = options_.deadline != absl::InfiniteFuture();
  if (now >= options_.deadline ||
      (timed && error.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)) {
    return MakeError(absl::StatusCode::kDeadlineExceeded,
                     absl::StrCat("the time to wait for ", job_, " is over"), "WATCH_TIMEOUT",
                     {{"job", job_}});
  }
  if (last_contact_ == absl::InfinitePast()) last_contact_ = now;
  const absl::Status status = FromGrpc(error, address_);
  // One that stops, or has all the watches that it takes, may be another one soon.
  const bool passing = IsPassing(status) || absl::IsResourceExhausted(status);
  if (!passing || now - last_contact_ >= options_.patience) return status;
  const absl::Duration pause = std::min(Backoff(failures_++, status), options_.deadline - now);
  if (options_.pause) {
    options_.pause(pause);
  } else {
    Pause(pause);
  }
  return absl::OkStatus();
}

void JobWatcher::Pause(absl::Duration pause) {
  const absl::Time end = absl::Now() + pause;
  while (absl::Now() < end) {
    const bool connected = channel_->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY;
    {
      absl::MutexLock lock(&mutex_);
      const absl::Duration left = connected ? end - absl::Now() : absl::ZeroDuration();
      if (mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), left)) return;
    }
    // gRPC looks after a connection that is being made only while somebody waits for it.
    if (!connected) {
      channel_->WaitForConnected(absl::ToChronoTime(std::min(end, absl::Now() + kTurn)));
    }
  }
}

absl::StatusOr<bool> JobWatcher::Next(v1::Event* event) {
  while (received_.empty()) {
    if (reader_ == nullptr) EVOGRAD_RETURN_IF_ERROR(Open());
    v1::WatchJobResponse response;
    if (reader_->Read(&response)) {
      failures_ = 0;
      last_contact_ = absl::Now();
      for (v1::Event& received : *response.mutable_events())
        received_.push_back(std::move(received));
      continue;
    }
    const grpc::Status status = reader_->Finish();
    reader_.reset();
    if (status.ok()) return false;
    EVOGRAD_RETURN_IF_ERROR(AfterError(status));
  }
  *event = std::move(received_.front());
  received_.pop_front();
  if (event->sequence() != sequence_ + 1) {
    return MakeError(absl::StatusCode::kInternal,
                     absl::StrCat("the coordinator sent event ", event->sequence(), " of ", job_,
                                  " where ", sequence_ + 1, " was due"),
                     "EVENT_GAP", {{"job", job_}});
  }
  ++sequence_;
  return true;
}

}  // namespace evograd
