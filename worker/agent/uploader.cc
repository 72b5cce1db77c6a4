#include "worker/agent/uploader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "spec/retry.h"
#include "worker/agent/backoff.h"
#include "worker/agent/trouble_teller.h"

namespace evograd::agent {
namespace {

// Errors that may pass: the coordinator is away, busy, or got damaged bytes.
bool IsWorthRepeating(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

}  // namespace

Uploader::Uploader(Options options) : options_(std::move(options)), thread_([this] { Loop(); }) {}

Uploader::~Uploader() {
  Stop();
  {
    absl::MutexLock lock(&mutex_);
    exit_ = true;
  }
  thread_.join();
}

void Uploader::Start(v1::UploadCheckpointRequest header, std::shared_ptr<const std::string> bytes) {
  absl::MutexLock lock(&mutex_);
  header_ = std::move(header);
  bytes_ = std::move(bytes);
  stopped_.Reset();
  transfer_.Restart();
}

void Uploader::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_.Set();
  transfer_.Stop();
}

void Uploader::Loop() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return exit_ || bytes_ != nullptr;
      };
      mutex_.Await(absl::Condition(&due));
      if (exit_) return;
    }
    absl::Status status = UploadUntilStored();
    {
      absl::MutexLock lock(&mutex_);
      bytes_ = nullptr;
    }
    options_.done(std::move(status));
  }
}

absl::Status Uploader::UploadUntilStored() {
  Backoff backoff(options_.retry_min, options_.retry_max);
  // That it is over the coordinator sees by itself.
  TroubleTeller trouble(options_.trouble, options_.trouble_interval);
  mutex_.Lock();
  v1::UploadCheckpointRequest header = header_;
  const std::shared_ptr<const std::string> bytes = bytes_;
  mutex_.Unlock();
  StateBytes(*bytes, &header);
  while (true) {
    const Stub stub = options_.stub();
    const absl::Status status = transfer_.Upload(stub.get(), header, *bytes);
    if (status.ok()) return status;
    if (stopped_.IsSet()) return absl::CancelledError("the upload was stopped");
    if (!IsWorthRepeating(status)) return status;
    const std::string text =
        absl::StrCat("the checkpoint of step ", header.step(),
                     " is not stored yet, trying again: ", std::string(status.message()));
    options_.say(absl::StrCat(header.job(), ": ", text));
    trouble.Tell(text);
    const absl::Duration pause = AtLeast(GetRetryDelay(status), backoff.Next(Jitter()), Jitter());
    if (options_.wait ? options_.wait(pause) : stopped_.WaitFor(pause)) {
      return absl::CancelledError("the upload was stopped");
    }
  }
}

}  // namespace evograd::agent
