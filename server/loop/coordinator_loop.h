// The one thread that owns the coordinator's state. Other threads put inputs into its bounded
// inbox; it takes what is there, lets the machine turn each input into effects, writes all their
// records in one transaction, and only then answers, acknowledges and closes. So whatever leaves it
// is durable.
//
// Workers, calls that change something and calls that only read wait in lanes of their own, of
// which it takes in turn: many of one kind hold up only their kind, and take no room of the others.
// A call whose caller has ceased to wait before its turn comes is not carried out.
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

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
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

  // How long a caller waits; by default for ever.
  struct Patience {
    std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max();
    // Whether it has gone; may be null. Called on the loop's thread, before the handler.
    std::function<bool()> is_over;
  };

  // `input.call` is filled in here. The handler is called once: with the answer, RESOURCE_EXHAUSTED
  // where the inbox is full, or UNAVAILABLE where the loop has stopped. DEADLINE_EXCEEDED,
  // CANCELLED: the patience was over before anything was done.
  template <typename CallInput>
  void Call(CallInput input, ReplyHandler handler, Patience patience = {}) {
    input.call = static_cast<CallId>(++last_call_);
    Entry entry;
    entry.bytes = static_cast<int64_t>(SizeOf(input));
    entry.call = input.call;
    entry.handler = std::move(handler);
    entry.patience = std::move(patience);
    entry.input = std::move(input);
    // What a transfer found has cost its time already; there are as many as slots of transfers.
    Submit(std::move(entry), std::is_same_v<CallInput, FinishUploadInput> ||
                                 std::is_same_v<CallInput, DamagedCheckpointInput>);
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
  enum Lane { kWorkers, kChanges, kReads, kLanes };

  struct Entry {
    Input input = TickInput{};
    int64_t bytes = 0;
    // When it came, by the steady clock.
    int64_t queued_ms = 0;
    CallId call{};
    ReplyHandler handler;
    Patience patience;
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

  static Lane LaneOf(const Input& input);

  // Where it is not taken, the handler is told.
  void Submit(Entry entry, bool always = false);
  void Run();
  // Until there is something in the inbox, the next tick, or the end; false: the end.
  bool Wait();
  // The next entry, of the lanes in turn, if there is one.
  absl::optional<Entry> Next();
  bool IsEmpty() const;
  // Whether deadlines are to be looked at.
  bool IsTickDue(const Now& now) const;
  // Takes a batch of entries, and does what they ask. False when the loop has to end.
  bool Process();
  // Lets the machine do it.
  void Step(Entry* entry, const Now& now, Effects* effects);
  void Step(const Input& input, const Now& now, Effects* effects);
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
  int next_lane_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Protected by mutex_.
  std::array<std::deque<Entry>, kLanes> inbox_;
  std::array<int64_t, kLanes> inbox_bytes_{};
  bool stopping_ = false;

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_LOOP_COORDINATOR_LOOP_H_
