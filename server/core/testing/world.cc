#include "server/core/testing/world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/service_limits.h"
#include "server/core/job_state.h"

namespace evograd::testing {

v1::CreateJobRequest ToyRequest(const std::string& id, int64_t steps, int min_workers,
                                int max_workers) {
  v1::CreateJobRequest request;
  request.set_job_id(id);
  request.mutable_spec()->mutable_problem()->mutable_toy1d();
  request.mutable_spec()->set_steps(steps);
  request.mutable_spec()->set_min_workers(min_workers);
  request.mutable_spec()->set_max_workers(max_workers);
  return request;
}

World::World() { Boot(); }

void World::Boot() {
  absl::StatusOr<std::unique_ptr<CoordinatorMachine>> machine =
      CoordinatorMachine::Make(disk_.Read(), disk_, now_);
  if (!machine.ok()) {
    std::fprintf(stderr, "the coordinator does not start: %s\n",
                 machine.status().ToString().c_str());
    std::abort();
  }
  machine_ = *std::move(machine);
}

void World::RestartCoordinator() {
  machine_.reset();
  held_ = Effects();
  hold_commits_ = false;
  while (!streams_.empty()) LoseStream(std::string(streams_.begin()->first));
  Boot();
}

// ---- The machine -----------------------------------------------------------------------------

void World::Step(const Input& input) {
  Effects effects = machine_->Step(input, now_);
  const auto append = [](auto& from, auto* to) {
    std::move(from.begin(), from.end(), std::back_inserter(*to));
  };
  append(effects.records, &held_.records);
  append(effects.sends, &held_.sends);
  append(effects.closes, &held_.closes);
  append(effects.replies, &held_.replies);
  if (!hold_commits_) Commit();
}

void World::Commit() {
  hold_commits_ = false;
  CarryOut(std::exchange(held_, Effects()));
}

void World::CarryOut(Effects effects) {
  disk_.Write(effects.records);
  std::string id;
  for (Send& send : effects.sends) {
    if (send.message.has_acknowledge()) CheckAcknowledgement(send.message.acknowledge());
    if (Stream* stream = FindStream(send.connection, &id); stream != nullptr) {
      sent_[id].push_back(send.message);
      stream->down.push_back(std::move(send.message));
    }
  }
  for (const Close& close : effects.closes) {
    if (FindStream(close.connection, &id) == nullptr) continue;
    closed_[id] = close.status;
    workers_[id]->StreamDown();
    streams_.erase(id);
  }
  for (Reply& reply : effects.replies) {
    CheckReply(reply);
    replies_.insert_or_assign(reply.call, std::move(reply.answer));
  }
}

void World::CheckAcknowledgement(const v1::Acknowledge& acknowledge) {
  const v1::Job* job = disk_.FindJob(acknowledge.job());
  if (job == nullptr || job->committed_steps() < acknowledge.committed_steps()) {
    violations_.push_back(
        absl::StrCat("acknowledged but not durable: ", acknowledge.ShortDebugString()));
  }
}

void World::CheckReply(const Reply& reply) {
  if (!reply.answer.ok() || !std::holds_alternative<v1::Job>(*reply.answer)) return;
  const v1::Job& job = std::get<v1::Job>(*reply.answer);
  const v1::Job* stored = disk_.FindJob(job.name());
  if (job.uid().empty()) return;  // validate_only
  if (stored == nullptr || stored->state() != job.state() ||
      stored->committed_steps() < job.committed_steps()) {
    violations_.push_back(absl::StrCat("answered but not durable: ", job.ShortDebugString()));
  }
}

World::Stream* World::FindStream(ConnectionId connection, std::string* id) {
  for (auto& [worker, stream] : streams_) {
    if (stream.connection != connection) continue;
    *id = worker;
    return &stream;
  }
  return nullptr;
}

// ---- Clients ---------------------------------------------------------------------------------

absl::StatusOr<Answer> World::Call(const Input& input) {
  const CallId call = static_cast<CallId>(calls_);
  Step(input);
  const auto reply = replies_.find(call);
  return reply == replies_.end() ? absl::UnknownError("no reply") : reply->second;
}

absl::StatusOr<v1::Job> JobOf(const absl::StatusOr<Answer>& answer) {
  if (!answer.ok()) return answer.status();
  return std::get<v1::Job>(*answer);
}

absl::StatusOr<v1::Job> World::Create(const v1::CreateJobRequest& request) {
  const CallId call = NextCall();
  const std::string uid = absl::StrFormat("%08x-0000-4000-8000-000000000000", calls_);
  return JobOf(Call(CreateJobInput{call, request, uid, absl::StrFormat("job-%08x", calls_)}));
}

absl::StatusOr<v1::Job> World::Create(const std::string& id, int64_t steps, int min_workers,
                                      int max_workers) {
  return Create(ToyRequest(id, steps, min_workers, max_workers));
}

absl::StatusOr<v1::Job> World::Get(const std::string& id) {
  GetJobInput input{NextCall(), {}};
  input.request.set_name("jobs/" + id);
  return JobOf(Call(input));
}

absl::StatusOr<v1::Job> World::Cancel(const std::string& id) {
  CancelJobInput input{NextCall(), {}};
  input.request.set_name("jobs/" + id);
  return JobOf(Call(input));
}

// ---- Workers ---------------------------------------------------------------------------------

ModelWorker* World::AddWorker(const std::string& id, v1::DeviceKind kind) {
  workers_[id] = std::make_unique<ModelWorker>(id, kind);
  worker(id)->identity()->set_process_nonce(absl::StrCat("process ", ++processes_));
  Dial(id);
  return worker(id);
}

void World::Dial(const std::string& id) {
  if (IsConnected(id)) return;
  Stream stream;
  stream.connection = static_cast<ConnectionId>(++connections_);
  stream.next_heartbeat_ms = now_.monotonic_ms + limits::kHeartbeatIntervalMs;
  streams_[id] = std::move(stream);
  closed_.erase(id);
  worker(id)->StreamUp();
  Step(ConnectedInput{streams_[id].connection, worker(id)->Hello()});
}

// The worker's side of a stream that is gone, and the coordinator's notice of it.
void World::LoseStream(const std::string& id) {
  const auto stream = streams_.find(id);
  if (stream == streams_.end()) return;
  const ConnectionId connection = stream->second.connection;
  streams_.erase(stream);
  worker(id)->StreamDown();
  if (machine_ != nullptr) Step(DisconnectedInput{connection, "its stream was cut"});
}

void World::CutStream(const std::string& id) { LoseStream(id); }

void World::Kill(const std::string& id) {
  LoseStream(id);
  for (const std::string& violation : worker(id)->violations()) violations_.push_back(violation);
  workers_.erase(id);
  frozen_.erase(id);
}

void World::Collect(const std::string& id) {
  const auto stream = streams_.find(id);
  for (v1::WorkerMessage& message : worker(id)->TakeOutput()) {
    if (stream != streams_.end()) stream->second.up.push_back(std::move(message));
  }
}

bool World::DeliverToCoordinator(const std::string& id) {
  const auto stream = streams_.find(id);
  if (stream == streams_.end() || stream->second.up.empty() || frozen_.count(id) > 0) return false;
  WorkerInput input{stream->second.connection, std::move(stream->second.up.front())};
  stream->second.up.pop_front();
  Step(input);
  return true;
}

bool World::DeliverToWorker(const std::string& id) {
  const auto stream = streams_.find(id);
  if (stream == streams_.end() || stream->second.down.empty() || frozen_.count(id) > 0)
    return false;
  const v1::CoordinatorMessage message = std::move(stream->second.down.front());
  stream->second.down.pop_front();
  worker(id)->Receive(message);
  Collect(id);
  return true;
}

bool World::Duplicate(const std::string& id) {
  const auto stream = streams_.find(id);
  if (stream == streams_.end()) return false;
  std::deque<v1::WorkerMessage>& up = stream->second.up;
  std::deque<v1::CoordinatorMessage>& down = stream->second.down;
  if (!up.empty()) up.push_back(v1::WorkerMessage(up.front()));
  // At once: the coordinator says nothing twice, and a stream keeps the order of what it said.
  if (up.empty() && !down.empty()) down.push_front(v1::CoordinatorMessage(down.front()));
  return !up.empty() || !down.empty();
}

void World::Work(const std::string& id) {
  if (frozen_.count(id) > 0) return;
  worker(id)->Work();
  Collect(id);
  if (hold_uploads_) return;
  absl::optional<v1::UploadCheckpointRequest> upload = worker(id)->TakeUpload();
  if (upload.has_value()) Upload(id, *std::move(upload));
}

void World::Upload(const std::string& id, v1::UploadCheckpointRequest header) {
  // The same bytes whoever computes them, so the same hash.
  header.set_sha256(absl::StrFormat("%064x", header.step()));
  header.set_size_bytes(1000 + header.step());
  if (refuse_uploads_) return worker(id)->UploadRefused();
  bool stored = Call(BeginUploadInput{NextCall(), header}).ok();
  if (stored) stored = Call(FinishUploadInput{NextCall(), header}).ok();
  if (workers_.count(id) > 0) worker(id)->UploadDone(stored);
}

void World::Pass(int64_t ms) {
  for (const int64_t end = now_.monotonic_ms + ms; now_.monotonic_ms < end;) {
    const int64_t step = std::min<int64_t>(limits::kTickIntervalMs, end - now_.monotonic_ms);
    now_.monotonic_ms += step;
    now_.unix_ms += step;
    std::vector<ConnectionId> beating;
    for (auto& [id, stream] : streams_) {
      if (frozen_.count(id) > 0 || now_.monotonic_ms < stream.next_heartbeat_ms) continue;
      stream.next_heartbeat_ms = now_.monotonic_ms + limits::kHeartbeatIntervalMs;
      beating.push_back(stream.connection);
    }
    v1::WorkerMessage heartbeat;
    heartbeat.mutable_heartbeat();
    for (const ConnectionId connection : beating) Step(WorkerInput{connection, heartbeat});
    Step(TickInput{});
  }
}

void World::Stall(int64_t ms) {
  now_.monotonic_ms += ms;
  now_.unix_ms += ms;
  Step(TickInput{});
}

void World::Quiesce() {
  for (bool busy = true; busy;) {
    busy = false;
    std::vector<std::string> ids;
    for (const auto& [id, worker] : workers_) ids.push_back(id);
    for (const std::string& id : ids) {
      while (DeliverToWorker(id)) busy = true;
      const size_t before = sent_[id].size();
      const int64_t phases = worker(id)->phases();
      Work(id);
      while (DeliverToCoordinator(id)) busy = true;
      busy = busy || sent_[id].size() != before || worker(id)->phases() != phases;
    }
  }
}

void World::RunUntilEnded(const std::string& id, int64_t limit_ms) {
  for (int64_t passed = 0; passed < limit_ms; passed += limits::kTickIntervalMs) {
    Quiesce();
    const v1::Job* job = disk_.FindJob("jobs/" + id);
    if (job != nullptr && IsEnded(job->state())) return;
    Pass(limits::kTickIntervalMs);
  }
}

Effects World::Inject(const std::string& id, const v1::WorkerMessage& message) {
  Effects effects = machine_->Step(WorkerInput{streams_.at(id).connection, message}, now_);
  CarryOut(effects);
  return effects;
}

Effects World::InjectHello(const v1::Hello& hello) {
  Effects effects =
      machine_->Step(ConnectedInput{static_cast<ConnectionId>(++connections_), hello}, now_);
  CarryOut(effects);
  return effects;
}

const std::vector<std::string>& World::violations() {
  for (const auto& [id, worker] : workers_) {
    for (const std::string& violation : worker->violations()) violations_.push_back(violation);
  }
  for (const std::string& violation : disk_.violations()) violations_.push_back(violation);
  return violations_;
}

absl::Status World::closed(const std::string& id) const {
  const auto found = closed_.find(id);
  return found == closed_.end() ? absl::OkStatus() : found->second;
}

std::vector<v1::CoordinatorMessage> World::sent(const std::string& id) const {
  const auto found = sent_.find(id);
  return found == sent_.end() ? std::vector<v1::CoordinatorMessage>() : found->second;
}

}  // namespace evograd::testing
