#include "server/loop/coordinator_loop.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/core/job_state.h"
#include "server/core/refusals.h"

namespace evograd {
namespace {

template <typename Clock>
int64_t MillisecondsOf() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
      .count();
}

Now ReadClocks() {
  return {MillisecondsOf<std::chrono::steady_clock>(), MillisecondsOf<std::chrono::system_clock>()};
}

// The answer to a caller that has ceased to wait; OK while it waits.
absl::Status CheckPatience(const CoordinatorLoop::Patience& patience) {
  if (patience.until <= std::chrono::steady_clock::now()) {
    return absl::DeadlineExceededError(
        "the coordinator was busy until the deadline; nothing was done");
  }
  if (patience.is_over && patience.is_over()) {
    return absl::CancelledError("the call was cancelled; nothing was done");
  }
  return absl::OkStatus();
}

template <typename T>
void Append(std::vector<T> from, std::vector<T>* to) {
  to->insert(to->end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

CoordinatorLoop::CoordinatorLoop(std::unique_ptr<Store> store, Options options)
    : store_(std::move(store)), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<CoordinatorLoop>> CoordinatorLoop::Start(
    std::unique_ptr<Store> store, Options options) {
  std::unique_ptr<CoordinatorLoop> loop(new CoordinatorLoop(std::move(store), std::move(options)));
  EVOGRAD_ASSIGN_OR_RETURN(Snapshot snapshot, loop->store_->Load());
  if (loop->options_.on_loaded) EVOGRAD_RETURN_IF_ERROR(loop->options_.on_loaded(snapshot));
  EVOGRAD_ASSIGN_OR_RETURN(
      loop->machine_, CoordinatorMachine::Make(std::move(snapshot), *loop->store_, ReadClocks()));
  loop->thread_ = std::thread([raw = loop.get()] { raw->Run(); });
  return loop;
}

CoordinatorLoop::~CoordinatorLoop() { Stop(); }

// ---- Other threads ---------------------------------------------------------------------------

CoordinatorLoop::Lane CoordinatorLoop::LaneOf(const Input& input) {
  if (std::holds_alternative<ConnectedInput>(input) || std::holds_alternative<WorkerInput>(input) ||
      std::holds_alternative<DisconnectedInput>(input)) {
    return kWorkers;
  }
  if (std::holds_alternative<CreateJobInput>(input) ||
      std::holds_alternative<CancelJobInput>(input) ||
      std::holds_alternative<FinishUploadInput>(input) ||
      std::holds_alternative<DamagedCheckpointInput>(input)) {
    return kChanges;
  }
  return kReads;
}

void CoordinatorLoop::Submit(Entry entry, bool always) {
  absl::Status refusal;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Lane kind = LaneOf(entry.input);
    std::deque<Entry>& lane = inbox_[kind];
    const bool full = lane.size() >= limits::kMaxLoopInbox ||
                      inbox_bytes_[kind] >= limits::kMaxLoopInboxBytes / kLanes;
    if (stopping_) {
      refusal = CoordinatorStopping();
    } else if (full && !always) {
      refusal = CoordinatorOverloaded();
    } else {
      inbox_bytes_[kind] += entry.bytes;
      entry.queued_ms = ReadClocks().monotonic_ms;
      lane.push_back(std::move(entry));
    }
  }
  if (refusal.ok()) return wake_.notify_one();
  if (entry.handler) entry.handler(refusal);
  if (entry.sink) entry.sink->Close(refusal);
}

ConnectionId CoordinatorLoop::Connect(v1::Hello hello, std::shared_ptr<WorkerSink> sink) {
  const ConnectionId connection = static_cast<ConnectionId>(++last_connection_);
  Entry entry;
  entry.bytes = static_cast<int64_t>(hello.ByteSizeLong());
  entry.input = ConnectedInput{connection, std::move(hello)};
  entry.sink = std::move(sink);
  Submit(std::move(entry));
  return connection;
}

void CoordinatorLoop::FromWorker(ConnectionId connection, v1::WorkerMessage message,
                                 std::function<void()> taken) {
  Entry entry;
  entry.bytes = static_cast<int64_t>(message.ByteSizeLong());
  entry.input = WorkerInput{connection, std::move(message)};
  entry.taken = std::move(taken);
  // A worker has at most one message in the inbox, and a part of another, so that their number is
  // bounded by that of the workers.
  Submit(std::move(entry), true);
}

void CoordinatorLoop::Disconnect(ConnectionId connection, const std::string& reason) {
  Entry entry;
  entry.input = DisconnectedInput{connection, reason};
  Submit(std::move(entry), true);
}

void CoordinatorLoop::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  const std::lock_guard<std::mutex> lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

// ---- The loop's thread -----------------------------------------------------------------------

void CoordinatorLoop::Run() {
  next_tick_ms_ = ReadClocks().monotonic_ms;
  while (Wait() && Process()) {
  }
  RefuseAll(CoordinatorStopping());
}

bool CoordinatorLoop::Wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::chrono::steady_clock::time_point tick{std::chrono::milliseconds(next_tick_ms_)};
  wake_.wait_until(lock, tick, [this] { return stopping_ || !IsEmpty(); });
  return !stopping_ || !IsEmpty();
}

bool CoordinatorLoop::IsEmpty() const {
  return std::all_of(inbox_.begin(), inbox_.end(),
                     [](const std::deque<Entry>& lane) { return lane.empty(); });
}

absl::optional<CoordinatorLoop::Entry> CoordinatorLoop::Next() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (int i = 0; i < kLanes; ++i) {
    const int kind = next_lane_;
    std::deque<Entry>& lane = inbox_[kind];
    next_lane_ = (next_lane_ + 1) % kLanes;
    if (lane.empty()) continue;
    Entry entry = std::move(lane.front());
    lane.pop_front();
    inbox_bytes_[kind] -= entry.bytes;
    return entry;
  }
  return absl::nullopt;
}

bool CoordinatorLoop::IsTickDue(const Now& now) const {
  if (now.monotonic_ms < next_tick_ms_) return false;
  // Only when everything was read that workers had said until then. They always say something more.
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::deque<Entry>& lane = inbox_[kWorkers];
  return lane.empty() || lane.front().queued_ms >= next_tick_ms_;
}

bool CoordinatorLoop::Process() {
  const Now now = ReadClocks();
  Effects all;
  std::vector<std::function<void()>> taken;
  for (int i = 0; i < limits::kMaxLoopBatch &&
                  ReadClocks().monotonic_ms < now.monotonic_ms + limits::kMaxLoopBatchMs;
       ++i) {
    absl::optional<Entry> entry = Next();
    if (!entry.has_value()) break;
    if (entry->taken) taken.push_back(std::move(entry->taken));
    Step(&*entry, now, &all);
  }
  if (IsTickDue(now)) {
    Step(TickInput{}, now, &all);
    next_tick_ms_ = now.monotonic_ms + limits::kTickIntervalMs;
  }
  if (const absl::Status status = store_->Commit(all.records); !status.ok()) {
    Fail(status);
    return false;
  }
  CarryOut(std::move(all));
  for (const std::function<void()>& tell : taken) tell();
  return true;
}

void CoordinatorLoop::Step(Entry* entry, const Now& now, Effects* effects) {
  if (entry->handler) {
    if (const absl::Status over = CheckPatience(entry->patience); !over.ok()) {
      return entry->handler(over);
    }
    handlers_[entry->call] = std::move(entry->handler);
  }
  if (entry->sink) {
    sinks_[std::get<ConnectedInput>(entry->input).connection] = std::move(entry->sink);
  }
  Step(entry->input, now, effects);
  if (const auto* gone = std::get_if<DisconnectedInput>(&entry->input)) {
    sinks_.erase(gone->connection);
  }
}

void CoordinatorLoop::Step(const Input& input, const Now& now, Effects* all) {
  Effects effects = machine_->Step(input, now);
  Append(std::move(effects.records), &all->records);
  Append(std::move(effects.sends), &all->sends);
  Append(std::move(effects.closes), &all->closes);
  Append(std::move(effects.replies), &all->replies);
}

void CoordinatorLoop::CarryOut(Effects effects) {
  for (Send& send : effects.sends) {
    const auto sink = sinks_.find(send.connection);
    if (sink != sinks_.end()) sink->second->Send(std::move(send.message));
  }
  for (const evograd::Close& close : effects.closes) {
    const auto sink = sinks_.find(close.connection);
    if (sink == sinks_.end()) continue;
    sink->second->Close(close.status);
    sinks_.erase(sink);
  }
  for (Reply& reply : effects.replies) {
    const auto handler = handlers_.find(reply.call);
    EVOGRAD_CHECK(handler != handlers_.end(), "a call is answered once");
    handler->second(std::move(reply.answer));
    handlers_.erase(handler);
  }
  if (!options_.on_job_changed) return;
  std::map<std::string, bool> changed;
  for (const Record& record : effects.records) {
    if (const auto* job = std::get_if<JobRecord>(&record))
      changed[job->job.uid()] = IsEnded(job->job.state());
    if (const auto* event = std::get_if<EventRecord>(&record))
      changed.emplace(event->job_uid, false);
  }
  for (const auto& [uid, ended] : changed) options_.on_job_changed(uid, ended);
}

void CoordinatorLoop::Fail(const absl::Status& status) {
  if (options_.on_failure) {
    options_.on_failure(absl::Status(
        status.code(), absl::StrCat("the coordinator cannot write its data directory and "
                                    "stops; it goes on where it was when started again: ",
                                    status.message())));
  }
}

void CoordinatorLoop::RefuseAll(const absl::Status& status) {
  std::array<std::deque<Entry>, kLanes> refused;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    refused.swap(inbox_);
  }
  for (const auto& [call, handler] : handlers_) handler(status);
  handlers_.clear();
  for (const std::deque<Entry>& lane : refused) {
    for (const Entry& entry : lane) {
      if (entry.handler) entry.handler(status);
      if (entry.sink) entry.sink->Close(status);
    }
  }
  sinks_.clear();
}

}  // namespace evograd
