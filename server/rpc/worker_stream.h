// One worker's stream on the coordinator's side: reads one message at a time, puts long ones
// together, and hands them to the loop, so that a worker cannot flood it; writes what the loop
// sends from a bounded queue, so that the loop never waits for a worker.
//
// Threads: gRPC's own for its callbacks, the loop's for Send and Close, the stall watch's. It lives
// until gRPC and the loop let go of it.
#ifndef EVOGRAD_SERVER_RPC_WORKER_STREAM_H_
#define EVOGRAD_SERVER_RPC_WORKER_STREAM_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "absl/types/optional.h"
#include "proto/evograd/v1/worker.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/message_joiner.h"
#include "server/rpc/stall_watch.h"

namespace evograd {

class WorkerStream : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
                     public WorkerSink,
                     public StallWatch::Watched,
                     public std::enable_shared_from_this<WorkerStream> {
 public:
  // What all streams of a server share; outlives them.
  struct Shared {
    CoordinatorLoop* loop;
    StallWatch* watch;
    MessageJoiner::Budget* partial_messages;
  };

  // Begins to read; gRPC owns the result until it calls OnDone. DEADLINE_EXCEEDED: no Hello came
  // for as long as a peer may stand still.
  static WorkerStream* Begin(const Shared& shared, grpc::CallbackServerContext* context);

  void Send(v1::CoordinatorMessage message) override;
  // When what was sent before is written, or the worker reads nothing for limits::kPeerStallMs.
  void Close(const absl::Status& status) override;
  void OnTime(int64_t now_ms) override;

 private:
  WorkerStream(const Shared& shared, grpc::CallbackServerContext* context)
      : shared_(shared), joiner_(shared.partial_messages) {
    end_.context = context;
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Take(ConnectionId connection);
  // Tells the loop that the worker was heard, unless it knows that already.
  void Heard(ConnectionId connection, v1::WorkerMessage part);
  void ReadNext();
  void TellLoop(const std::string& reason);
  absl::optional<ConnectionId> connection_id();
  // All require mutex_.
  void WriteNext();
  void FinishOnce(const absl::Status& status);

  const Shared shared_;
  const int64_t begun_ms_ = StallWatch::Now();
  // Keeps itself until OnDone.
  std::shared_ptr<WorkerStream> self_;
  // Of the reading side.
  v1::WorkerMessage incoming_;
  MessageJoiner joiner_;
  // The loop has not yet taken that a part was heard.
  std::atomic<bool> heard_waits_{false};

  std::mutex mutex_;
  // Protected by mutex_. No connection before the Hello; the front of the queue is being written
  // while `writing_`; with `closing_`, nothing is added to it.
  absl::optional<ConnectionId> connection_;
  std::deque<v1::CoordinatorMessage> outgoing_;
  bool writing_ = false;
  absl::optional<absl::Status> closing_;
  int64_t closing_ms_ = 0;
  CallEnd end_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_WORKER_STREAM_H_
