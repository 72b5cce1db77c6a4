#include "server/rpc/worker_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {

WorkerStream* WorkerStream::Begin(CoordinatorLoop* loop) {
  std::shared_ptr<WorkerStream> stream(new WorkerStream(loop));
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream.get();
}

// ---- Reading ---------------------------------------------------------------------------------

void WorkerStream::OnReadDone(bool ok) {
  if (!ok) {
    TellLoop("its stream was closed");
    return Close(absl::OkStatus());
  }
  if (const absl::optional<ConnectionId> connection = connection_id(); connection.has_value()) {
    // The loop says when it took the message: a worker has one in its inbox at a time.
    std::weak_ptr<WorkerStream> weak = weak_from_this();
    return loop_.FromWorker(*connection, std::move(incoming_), [weak] {
      if (const std::shared_ptr<WorkerStream> stream = weak.lock()) stream->ReadNext();
    });
  }
  if (!incoming_.has_hello()) {
    return Close(MakeError(absl::StatusCode::kInvalidArgument,
                           "the first message of a worker's stream must be a Hello",
                           "MALFORMED_WORKER_MESSAGE"));
  }
  const ConnectionId connection = loop_.Connect(incoming_.hello(), shared_from_this());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    connection_ = connection;
  }
  ReadNext();
}

void WorkerStream::ReadNext() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (finished_) return;
  incoming_.Clear();
  StartRead(&incoming_);
}

void WorkerStream::OnCancel() {
  TellLoop("its stream was cut");
  Close(absl::CancelledError("the stream was cut"));
}

void WorkerStream::TellLoop(const std::string& reason) {
  const absl::optional<ConnectionId> connection = connection_id();
  if (connection.has_value()) loop_.Disconnect(*connection, reason);
}

absl::optional<ConnectionId> WorkerStream::connection_id() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return connection_;
}

// ---- Writing ---------------------------------------------------------------------------------

void WorkerStream::Send(v1::CoordinatorMessage message) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_) return;
    if (outgoing_.size() < limits::kMaxOutgoingMessages) {
      outgoing_.push_back(std::move(message));
      if (!writing_) WriteNext();
      return;
    }
    FinishOnce(MakeError(
        absl::StatusCode::kResourceExhausted,
        absl::StrCat("the worker reads too slowly: ", outgoing_.size(), " messages wait for it"),
        "WORKER_TOO_SLOW"));
  }
  // The stream itself ends only when the worker reads, or its connection breaks.
  TellLoop("it read too slowly");
}

void WorkerStream::WriteNext() {
  writing_ = !outgoing_.empty();
  if (writing_) StartWrite(&outgoing_.front());
}

void WorkerStream::OnWriteDone(bool ok) {
  const std::lock_guard<std::mutex> lock(mutex_);
  outgoing_.pop_front();
  writing_ = false;
  if (ok && !finished_) WriteNext();
}

void WorkerStream::Close(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  FinishOnce(status);
}

void WorkerStream::FinishOnce(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  // What gRPC is writing must stay where it is.
  outgoing_.resize(writing_ ? 1 : 0);
  Finish(ToGrpc(status));
}

void WorkerStream::OnDone() {
  TellLoop("its stream ended");
  const std::shared_ptr<WorkerStream> last = std::move(self_);
}

}  // namespace evograd
