// One stream to the coordinator, from dialling to its end: a reader, a writer and a thread for
// heartbeats, so that neither long kernels nor large messages delay them.
//
// Threads: Run by one; Cancel by any.
#ifndef EVOGRAD_WORKER_AGENT_STREAM_H_
#define EVOGRAD_WORKER_AGENT_STREAM_H_

#include <functional>
#include <memory>

#include "grpcpp/grpcpp.h"
#include "proto/evograd/v1/worker_service.grpc.pb.h"
#include "worker/agent/outbox.h"

namespace evograd::agent {

class Stream {
 public:
  struct Events {
    // The outbox is open: the first thing pushed into it is the first message.
    std::function<void()> up;
    std::function<void(const v1::CoordinatorMessage&)> message;
    // Nothing more comes; the outbox is closed.
    std::function<void()> down;
    // What the next heartbeat says. By the thread of heartbeats.
    std::function<v1::Heartbeat()> heartbeat;
  };
  struct End {
    // Why it ended; never OK.
    grpc::Status status;
    // The coordinator had taken the worker in.
    bool welcomed = false;
  };

  Stream(v1::WorkerService::StubInterface* stub, Outbox* outbox);

  // Until the stream ends.
  End Run(const Events& events);

  void Cancel() { context_.TryCancel(); }

 private:
  using Wire = grpc::ClientReaderWriterInterface<v1::WorkerMessage, v1::CoordinatorMessage>;

  void Write(Wire* wire);

  v1::WorkerService::StubInterface* const stub_;
  Outbox* const outbox_;
  grpc::ClientContext context_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_STREAM_H_
