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

bool CoordinatorLoop::Submit(Entry entry, bool always) {
  absl::Status refusal;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool full =
        inbox_.size() >= limits::kMaxLoopInbox || inbox_bytes_ >= limits::kMaxLoopInboxBytes;
    if (stopping_) {
      refusal = CoordinatorStopping();
    } else if (full && !always) {
      refusal = CoordinatorOverloaded();
    } else {
      inbox_bytes_ += entry.bytes;
      inbox_.push_back(std::move(entry));
    }
  }
  if (refusal.ok()) {
    wake_.notify_one();
    return true;
  }
  if (entry.handler) entry.handler(refusal);
  if (entry.sink) entry.sink->Close(refusal);
  return false;
}

ConnectionId CoordinatorLoop::Connect(v1::Hello hello, std::shared_ptr<WorkerSink> sink) {
  const ConnectionId connection = static_cast<ConnectionId>(++last_connection_);
  const int64_t bytes = static_cast<int64_t>(hello.ByteSizeLong());
  Submit(
      {ConnectedInput{connection, std::move(hello)}, bytes, {}, nullptr, nullptr, std::move(sink)});
  return connection;
}

void CoordinatorLoop::FromWorker(ConnectionId connection, v1::WorkerMessage message,
                                 std::function<void()> taken) {
  const int64_t bytes = static_cast<int64_t>(message.ByteSizeLong());
  // A worker has at most one message in the inbox, so that their number is bounded by that of the
  // workers.
  Submit(
      {WorkerInput{connection, std::move(message)}, bytes, {}, nullptr, std::move(taken), nullptr},
      true);
}

void CoordinatorLoop::Disconnect(ConnectionId connection, const std::string& reason) {
  Submit({DisconnectedInput{connection, reason}, 0, {}, nullptr, nullptr, nullptr}, true);
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
  while (true) {
    std::vector<Entry> entries = Take();
    if (entries.empty()) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_ && inbox_.empty()) break;
    }
    if (!Process(std::move(entries))) break;
  }
  RefuseAll(CoordinatorStopping());
}

std::vector<CoordinatorLoop::Entry> CoordinatorLoop::Take() {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::chrono::steady_clock::time_point tick{std::chrono::milliseconds(next_tick_ms_)};
  wake_.wait_until(lock, tick, [this] { return stopping_ || !inbox_.empty(); });
  std::vector<Entry> entries;
  while (!inbox_.empty() && entries.size() < limits::kMaxLoopBatch) {
    inbox_bytes_ -= inbox_.front().bytes;
    entries.push_back(std::move(inbox_.front()));
    inbox_.pop_front();
  }
  return entries;
}

bool CoordinatorLoop::Process(std::vector<Entry> entries) {
  const Now now = ReadClocks();
  Effects all;
  const auto step = [&](const Input& input) {
    Effects effects = machine_->Step(input, now);
    Append(std::move(effects.records), &all.records);
    Append(std::move(effects.sends), &all.sends);
    Append(std::move(effects.closes), &all.closes);
    Append(std::move(effects.replies), &all.replies);
  };
  for (Entry& entry : entries) {
    if (entry.handler) handlers_[entry.call] = std::move(entry.handler);
    if (entry.sink)
      sinks_[std::get<ConnectedInput>(entry.input).connection] = std::move(entry.sink);
    step(entry.input);
    if (const auto* gone = std::get_if<DisconnectedInput>(&entry.input))
      sinks_.erase(gone->connection);
  }
  // Deadlines are judged only when everything that came before was read.
  if (now.monotonic_ms >= next_tick_ms_ && entries.size() < limits::kMaxLoopBatch) {
    step(TickInput{});
    next_tick_ms_ = now.monotonic_ms + limits::kTickIntervalMs;
  }
  if (const absl::Status status = store_->Commit(all.records); !status.ok()) {
    Fail(status);
    return false;
  }
  CarryOut(std::move(all));
  for (const Entry& entry : entries) {
    if (entry.taken) entry.taken();
  }
  return true;
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
  std::deque<Entry> refused;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    refused.swap(inbox_);
  }
  for (const auto& [call, handler] : handlers_) handler(status);
  handlers_.clear();
  for (const Entry& entry : refused) {
    if (entry.handler) entry.handler(status);
    if (entry.sink) entry.sink->Close(status);
  }
  sinks_.clear();
}

}  // namespace evograd
