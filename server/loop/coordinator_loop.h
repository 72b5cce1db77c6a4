// The one thread that owns the coordinator's state. Other threads put inputs into its bounded
// inbox; it takes what is there, lets the machine turn each input into effects, writes all their
// records in one transaction, and only then answers, acknowledges and closes. So whatever leaves it
// is durable.
//
//   EVOGRAD_ASSIGN_OR_RETURN(auto loop, CoordinatorLoop::Start(std::move(store), options));
//   loop->Call(GetJobInput{{}, request}, [](absl::StatusOr<Answer> answer) { … });
//
// A failed write ends the loop: everything waiting is told UNAVAILABLE, `on_failure` is called, and
// the process must stop and recover by starting again.
//
// Threads: all functions from any. Callbacks run on the loop's thread (or, when the input was not
// taken, on the caller's) and must not block.
#ifndef EVOGRAD_SERVER_LOOP_COORDINATOR_LOOP_H_
#define EVOGRAD_SERVER_LOOP_COORDINATOR_LOOP_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/core/coordinator_machine.h"
#include "server/core/inputs.h"
#include "server/store/store.h"

namespace evograd {

// The sending half of a worker's stream. Neither function may block.
class WorkerSink {
 public:
  virtual ~WorkerSink() = default;
  virtual void Send(v1::CoordinatorMessage message) = 0;
  // Nothing is sent after this.
  virtual void Close(const absl::Status& status) = 0;
};

class CoordinatorLoop {
 public:
  using ReplyHandler = std::function<void(absl::StatusOr<Answer>)>;

  struct Options {
    // The state changed durably: job uid, and whether the job has ended. After the replies of the
    // same transaction.
    std::function<void(const std::string&, bool)> on_job_changed;
    std::function<void(const absl::Status&)> on_failure;
    // What the store holds, before anything else happens.
    std::function<absl::Status(const Snapshot&)> on_loaded;
  };

  // Errors of the store, or of what it holds.
  static absl::StatusOr<std::unique_ptr<CoordinatorLoop>> Start(std::unique_ptr<Store> store,
                                                                Options options);
  // Stops.
  ~CoordinatorLoop();
  CoordinatorLoop(const CoordinatorLoop&) = delete;
  CoordinatorLoop& operator=(const CoordinatorLoop&) = delete;

  // `input.call` is filled in here. The handler is called once: with the answer, RESOURCE_EXHAUSTED
  // where the inbox is full, or UNAVAILABLE where the loop has stopped.
  template <typename CallInput>
  void Call(CallInput input, ReplyHandler handler) {
    input.call = static_cast<CallId>(++last_call_);
    const CallId call = input.call;
    const int64_t bytes = static_cast<int64_t>(SizeOf(input));
    Submit({std::move(input), bytes, call, std::move(handler), nullptr, nullptr});
  }

  // A worker's stream has begun with `hello`; the machine's answer goes to `sink`.
  ConnectionId Connect(v1::Hello hello, std::shared_ptr<WorkerSink> sink);
  // `taken` is called when the worker may say more; not where the stream is closed instead.
  void FromWorker(ConnectionId connection, v1::WorkerMessage message, std::function<void()> taken);
  // Its stream is gone; nothing more comes from it.
  void Disconnect(ConnectionId connection, const std::string& reason);

  // Takes nothing more, finishes and answers what was taken. Worker streams stay as they are, for
  // their workers come back to the next coordinator. Again: nothing.
  void Stop();

 private:
  struct Entry {
    Input input;
    int64_t bytes = 0;
    CallId call{};
    ReplyHandler handler;
    std::function<void()> taken;
    std::shared_ptr<WorkerSink> sink;
  };

  CoordinatorLoop(std::unique_ptr<Store> store, Options options);

  template <typename CallInput>
  static auto SizeOf(const CallInput& input) -> decltype(input.request.ByteSizeLong()) {
    return input.request.ByteSizeLong();
  }
  static size_t SizeOf(const FinishUploadInput& input) { return input.header.ByteSizeLong(); }
  static size_t SizeOf(const DamagedCheckpointInput& input) {
    return input.checkpoint.ByteSizeLong();
  }

  // False: not taken; the handler was told.
  bool Submit(Entry entry, bool always = false);
  void Run();
  // Waits for entries until the next tick; empty at a tick or at the end.
  std::vector<Entry> Take();
  // False when the loop has to end.
  bool Process(std::vector<Entry> entries);
  void CarryOut(Effects effects);
  void Fail(const absl::Status& status);
  void RefuseAll(const absl::Status& status);

  const std::unique_ptr<Store> store_;
  const Options options_;
  std::atomic<int64_t> last_call_{0};
  std::atomic<int64_t> last_connection_{0};

  // The loop thread's own.
  std::unique_ptr<CoordinatorMachine> machine_;
  std::map<CallId, ReplyHandler> handlers_;
  std::map<ConnectionId, std::shared_ptr<WorkerSink>> sinks_;
  int64_t next_tick_ms_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  // Protected by mutex_.
  std::deque<Entry> inbox_;
  int64_t inbox_bytes_ = 0;
  bool stopping_ = false;

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_LOOP_COORDINATOR_LOOP_H_
