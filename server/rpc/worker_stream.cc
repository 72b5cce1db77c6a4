#include "server/rpc/worker_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {

WorkerStream* WorkerStream::Begin(const Shared& shared, grpc::CallbackServerContext* context) {
  std::shared_ptr<WorkerStream> stream(new WorkerStream(shared, context));
  stream->self_ = stream;
  shared.watch->Add(stream);
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
    return Take(*connection);
  }
  if (!incoming_.has_hello()) {
    return Close(MakeError(absl::StatusCode::kInvalidArgument,
                           "the first message of a worker's stream must be a Hello",
                           "MALFORMED_WORKER_MESSAGE"));
  }
  const ConnectionId connection = shared_.loop->Connect(incoming_.hello(), shared_from_this());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    connection_ = connection;
  }
  ReadNext();
}

void WorkerStream::Take(ConnectionId connection) {
  absl::StatusOr<v1::WorkerMessage> message = joiner_.Take(std::move(incoming_));
  if (!message.ok()) {
    TellLoop(std::string(message.status().message()));
    return Close(message.status());
  }
  if (message->has_part()) {
    Heard(connection, *std::move(message));
    return ReadNext();
  }
  // The loop says when it took the message: a worker has one in its inbox at a time.
  std::weak_ptr<WorkerStream> weak = weak_from_this();
  shared_.loop->FromWorker(connection, *std::move(message), [weak] {
    if (const std::shared_ptr<WorkerStream> stream = weak.lock()) stream->ReadNext();
  });
}

void WorkerStream::Heard(ConnectionId connection, v1::WorkerMessage part) {
  if (heard_waits_.exchange(true)) return;
  std::weak_ptr<WorkerStream> weak = weak_from_this();
  shared_.loop->FromWorker(connection, std::move(part), [weak] {
    if (const std::shared_ptr<WorkerStream> stream = weak.lock()) stream->heard_waits_ = false;
  });
}

void WorkerStream::ReadNext() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (end_.finished || closing_.has_value()) return;
  incoming_.Clear();
  StartRead(&incoming_);
}

void WorkerStream::OnCancel() {
  TellLoop("its stream was cut");
  const std::lock_guard<std::mutex> lock(mutex_);
  FinishOnce(absl::CancelledError("the stream was cut"));
}

void WorkerStream::TellLoop(const std::string& reason) {
  const absl::optional<ConnectionId> connection = connection_id();
  if (connection.has_value()) shared_.loop->Disconnect(*connection, reason);
}

absl::optional<ConnectionId> WorkerStream::connection_id() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return connection_;
}

// ---- Writing ---------------------------------------------------------------------------------

void WorkerStream::Send(v1::CoordinatorMessage message) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (end_.finished || closing_.has_value()) return;
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
  if (!ok || end_.finished) return;
  WriteNext();
  if (!writing_ && closing_.has_value()) FinishOnce(*closing_);
}

void WorkerStream::Close(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closing_.has_value()) return;
  if (!writing_) return FinishOnce(status);
  closing_ = status;
  closing_ms_ = StallWatch::Now();
}

void WorkerStream::OnTime(int64_t now_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t stall_ms = shared_.watch->stall_ms();
  if (closing_.has_value() && now_ms - closing_ms_ >= stall_ms) FinishOnce(*closing_);
  if (!connection_.has_value() && now_ms - begun_ms_ >= stall_ms) {
    FinishOnce(MakeError(absl::StatusCode::kDeadlineExceeded,
                         absl::StrCat("no Hello came for ", stall_ms / 1000, " s"), "NO_HELLO"));
  }
  end_.CutIfStuck(now_ms, stall_ms);
}

void WorkerStream::FinishOnce(const absl::Status& status) {
  if (end_.finished) return;
  end_.Finished();
  // What gRPC is writing must stay where it is.
  outgoing_.resize(writing_ ? 1 : 0);
  Finish(ToGrpc(status));
}

void WorkerStream::OnDone() {
  TellLoop("its stream ended");
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_.done = true;
  }
  const std::shared_ptr<WorkerStream> last = std::move(self_);
}

}  // namespace evograd
