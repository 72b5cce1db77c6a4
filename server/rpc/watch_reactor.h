// One WatchJob call: asks the loop for the job, then sends what the pump gives it. Threads: gRPC's,
// the loop's and the pump's. It lives until gRPC, the loop and the pump let go of it.
#ifndef EVOGRAD_SERVER_RPC_WATCH_REACTOR_H_
#define EVOGRAD_SERVER_RPC_WATCH_REACTOR_H_

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <vector>

#include "proto/evograd/v1/job_service.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/event_pump.h"

namespace evograd {

class WatchReactor : public grpc::ServerWriteReactor<v1::WatchJobResponse>,
                     public EventSink,
                     public std::enable_shared_from_this<WatchReactor> {
 public:
  // gRPC owns the result until it calls OnDone. Loop and pump outlive it.
  static WatchReactor* Begin(CoordinatorLoop* loop, EventPump* pump,
                             const v1::WatchJobRequest& request);

  void Send(std::vector<v1::Event> events) override;
  void End(const absl::Status& status) override;

 private:
  explicit WatchReactor(EventPump* pump) : pump_(*pump) {}

  void Found(const absl::StatusOr<Answer>& answer, int64_t after_sequence);
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  EventPump& pump_;
  // Keeps itself until OnDone.
  std::shared_ptr<WatchReactor> self_;
  v1::WatchJobResponse response_;

  std::mutex mutex_;
  // Protected by mutex_.
  bool finished_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_WATCH_REACTOR_H_
