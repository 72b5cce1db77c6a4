// One worker's stream on the coordinator's side: reads one message at a time and hands it to the
// loop, so that a worker cannot flood it; writes what the loop sends from a bounded queue, so that
// the loop never waits for a worker.
//
// Threads: gRPC's own for its callbacks, the loop's for Send and Close. It lives until gRPC and the
// loop let go of it.
#ifndef EVOGRAD_SERVER_RPC_WORKER_STREAM_H_
#define EVOGRAD_SERVER_RPC_WORKER_STREAM_H_

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "absl/types/optional.h"
#include "proto/evograd/v1/worker.pb.h"
#include "server/loop/coordinator_loop.h"

namespace evograd {

class WorkerStream : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
                     public WorkerSink,
                     public std::enable_shared_from_this<WorkerStream> {
 public:
  // Begins to read; gRPC owns the result until it calls OnDone. `loop` outlives the stream.
  static WorkerStream* Begin(CoordinatorLoop* loop);

  void Send(v1::CoordinatorMessage message) override;
  void Close(const absl::Status& status) override;

 private:
  explicit WorkerStream(CoordinatorLoop* loop) : loop_(*loop) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void ReadNext();
  void TellLoop(const std::string& reason);
  absl::optional<ConnectionId> connection_id();
  // Both require mutex_.
  void WriteNext();
  void FinishOnce(const absl::Status& status);

  CoordinatorLoop& loop_;
  // Keeps itself until OnDone.
  std::shared_ptr<WorkerStream> self_;
  // Of the reading side.
  v1::WorkerMessage incoming_;

  std::mutex mutex_;
  // Protected by mutex_. No connection before the Hello; the front of the queue is being written
  // while `writing_`.
  absl::optional<ConnectionId> connection_;
  std::deque<v1::CoordinatorMessage> outgoing_;
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_WORKER_STREAM_H_
