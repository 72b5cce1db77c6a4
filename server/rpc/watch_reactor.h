// One WatchJob call: asks the loop for the job, then sends what the pump gives it. A watcher that
// does not read what it is sent is cut off; it may watch again from the last event that it has.
//
// Threads: gRPC's, the loop's, the pump's and the stall watch's. It lives until all let go of it.
#ifndef EVOGRAD_SERVER_RPC_WATCH_REACTOR_H_
#define EVOGRAD_SERVER_RPC_WATCH_REACTOR_H_

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "proto/evograd/v1/job_service.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/event_pump.h"
#include "server/rpc/stall_watch.h"

namespace evograd {

class WatchReactor : public grpc::ServerWriteReactor<v1::WatchJobResponse>,
                     public EventSink,
                     public StallWatch::Watched,
                     public std::enable_shared_from_this<WatchReactor> {
 public:
  // What all watches of a server share; outlives them.
  struct Shared {
    CoordinatorLoop* loop;
    EventPump* pump;
    StallWatch* watch;
  };

  // gRPC owns the result until it calls OnDone.
  static WatchReactor* Begin(const Shared& shared, grpc::CallbackServerContext* context,
                             const v1::WatchJobRequest& request);

  void Send(std::vector<v1::Event> events) override;
  void End(const absl::Status& status) override;
  void OnTime(int64_t now_ms) override;

 private:
  WatchReactor(const Shared& shared, grpc::CallbackServerContext* context)
      : shared_(shared), peer_(context->peer()) {
    end_.context = context;
  }

  void Found(const absl::StatusOr<Answer>& answer, int64_t after_sequence);
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Requires mutex_.
  void FinishOnce(const absl::Status& status);

  const Shared shared_;
  const std::string peer_;
  // Keeps itself until OnDone.
  std::shared_ptr<WatchReactor> self_;
  v1::WatchJobResponse response_;

  // Taken before the pump's.
  std::mutex mutex_;
  // Protected by mutex_. Since when response_ is being sent; 0: it is not.
  int64_t sending_since_ms_ = 0;
  CallEnd end_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_WATCH_REACTOR_H_
