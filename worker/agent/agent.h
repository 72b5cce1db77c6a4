// A worker's agent: keeps a stream to the coordinator, dials again whenever it is lost, and has the
// engine do what the coordinator says. All decisions are the machine's (worker/core); this is its
// clock, threads and wires.
//
//   Agent agent(std::move(options));
//   absl::Status end = agent.Run();   // OK after Stop; otherwise the coordinator's refusal
//
// Threads: Run by one, once; Stop by any. Inside: Run's own reads the stream, others write it, send
// heartbeats, run the engine and upload checkpoints. Every message for people goes to `say`, one
// line at a time, never two at once.
#ifndef EVOGRAD_WORKER_AGENT_AGENT_H_
#define EVOGRAD_WORKER_AGENT_AGENT_H_

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/service_limits.h"
#include "worker/agent/checkpoint_transfer.h"
#include "worker/agent/engine_factory.h"
#include "worker/agent/engine_runner.h"
#include "worker/agent/engine_watch.h"
#include "worker/agent/outbox.h"
#include "worker/agent/rendezvous_table.h"
#include "worker/agent/steady_flag.h"
#include "worker/agent/stream.h"
#include "worker/agent/uploader.h"
#include "worker/core/agent_machine.h"

namespace evograd::agent {

struct AgentOptions {
  // host:port
  std::string coordinator;
  // Who the worker is; without what it holds.
  v1::Hello hello;
  EngineFactory make_engine;
  CommunicatorFactory make_communicator;
  // "cpu" or "cuda:N".
  std::string device = "cpu";
  int cuda_device = 0;
  // As in EngineRunner::Options.
  std::function<absl::StatusOr<std::string>(bool several_hosts)> address;
  absl::Duration reconnect_min = absl::Milliseconds(limits::kReconnectMinMs);
  absl::Duration reconnect_max = absl::Milliseconds(limits::kReconnectMaxMs);
  // Waits before the next dial; whether Stop came meanwhile. Null: lets so much time pass.
  std::function<bool(absl::Duration)> wait_to_dial;
  std::function<void(const std::string&)> say;
};

class Agent {
 public:
  explicit Agent(AgentOptions options);
  // Run has returned.
  ~Agent();

  // FAILED_PRECONDITION: another protocol version. INVALID_ARGUMENT, PERMISSION_DENIED,
  // UNAUTHENTICATED: the coordinator does not take this worker. Everything else is tried again for
  // ever, what another program on the coordinator's port says included.
  absl::Status Run();

  // Run returns soon: as soon as the engine has looked at its cancel flag.
  void Stop();

 private:
  using Stub = std::shared_ptr<v1::WorkerService::StubInterface>;

  void Dispatch(Input input);
  void Perform(Send& action);
  void Perform(RunEngine& action);
  void Perform(StopEngine& action);
  void Perform(OpenRendezvous& action);
  void Perform(DeliverRendezvous& action);
  void Perform(CloseRendezvous& action);
  void Perform(StartUpload& action);
  void Perform(StopUpload& action);
  void Perform(Say& action);

  EngineRunner::Options RunnerOptions();
  Uploader::Options UploaderOptions();
  void EngineLoop();
  // One dial, until the stream's end; nothing after Stop.
  std::optional<Stream::End> Dial();
  void SayTrouble(const grpc::Status& status);
  void SayLine(const std::string& text);
  // Of the connection for checkpoints.
  Stub stub();

  const AgentOptions options_;
  Outbox outbox_;
  RendezvousTable rendezvous_;
  EngineWatch watch_;
  EngineRunner runner_;
  CheckpointTransfer download_;
  // When the loss of the connection was last told, if it was since there was one.
  std::optional<std::chrono::steady_clock::time_point> trouble_said_;
  SteadyFlag stopped_;

  // Of the present connection; checkpoints have a connection of their own, so that no heartbeat
  // waits behind their bytes.
  absl::Mutex stream_mutex_;
  Stub stub_ ABSL_GUARDED_BY(stream_mutex_);
  Stream* stream_ ABSL_GUARDED_BY(stream_mutex_) = nullptr;

  absl::Mutex say_mutex_;

  // Taken before all others.
  absl::Mutex mutex_;
  AgentMachine machine_ ABSL_GUARDED_BY(mutex_);
  std::optional<RunEngine> task_ ABSL_GUARDED_BY(mutex_);
  bool exit_ ABSL_GUARDED_BY(mutex_) = false;

  std::optional<Uploader> uploader_;
  std::thread engine_thread_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_AGENT_H_
