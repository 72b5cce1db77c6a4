// Goal: the two machines that must agree, the agent's and the coordinator's, do agree, whatever is
// killed, cut, restarted or late: no worker is ever expelled for breaking the protocol, nothing
// committed is lost or committed twice, and once faults stop every job ends with the
// hyperparameters of an undisturbed run and every worker is free and empty. Method: both real
// machines, a disk in memory and a made-up problem in one thread; seeds draw the mix of faults
// first and then what happens. The last line counts what was reached.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "server/core/coordinator_machine.h"
#include "server/core/job_state.h"
#include "server/core/testing/memory_store.h"
#include "server/core/testing/world.h"
#include "tests/sim/sim_worker.h"

namespace evograd::sim {
namespace {

constexpr int kWorkers = 4;
constexpr int kJobs = 2;
constexpr int kSeeds = 600;
constexpr int kActions = 3000;

std::map<std::string, int64_t> counts;

struct Stream {
  ConnectionId connection;
  std::deque<v1::WorkerMessage> up;
  std::deque<v1::CoordinatorMessage> down;
  int64_t heartbeat_due_ms = 0;
};

class Service {
 public:
  explicit Service(uint64_t seed) {
    common_.random.seed(seed);
    for (const char* fault : {"kill", "cut", "freeze", "restart", "break", "cancel"}) {
      weights_[fault] = Below(2) == 0 ? 0 : 1 + Below(6);
    }
    Boot();
    for (int i = 0; i < kWorkers; ++i) AddWorker();
    for (int i = 0; i < kJobs; ++i) CreateJob(i);
  }

  void Disturb() {
    for (int i = 0; i < kActions && violations_.empty(); ++i) {
      const std::string id = AnyWorker();
      Progress(id);
      Fault(id);
    }
  }

  void Calm() {
    for (int64_t second = 0; second < 300 && !AtRest(); ++second) {
      for (int round = 0; round < 50; ++round) {
        for (auto& [id, worker] : workers_) {
          Dial(id);
          while (DeliverUp(id) || DeliverDown(id)) {
          }
          worker->Work(false);
          Upload(id);
        }
      }
      Pass(1000);
    }
    Check();
  }

  std::vector<std::string> violations() const {
    std::vector<std::string> all = violations_;
    all.insert(all.end(), disk_.violations().begin(), disk_.violations().end());
    return all;
  }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(common_.random() % uint64_t(n)); }
  bool Chance(const std::string& fault, int64_t of) {
    const bool happens = Below(of) < weights_[fault];
    counts[fault] += happens;
    return happens;
  }
  std::string AnyWorker() {
    auto worker = workers_.begin();
    std::advance(worker, Below(static_cast<int64_t>(workers_.size())));
    return worker->first;
  }

  void AddWorker() {
    const std::string id = absl::StrCat("w", ++ids_);
    workers_[id] = std::make_unique<SimWorker>(id, &common_);
    Dial(id);
  }

  void CreateJob(int number) {
    v1::CreateJobRequest request = evograd::testing::ToyRequest(
        absl::StrCat("job", number), 4 + Below(12), 1 + Below(2), 2 + Below(2));
    request.mutable_spec()->set_pipeline_depth(static_cast<int>(1 + Below(4)));
    request.mutable_spec()->set_checkpoint_interval_steps(Below(2) * 3);
    request.mutable_spec()->set_max_restarts(1000);
    request.mutable_spec()->mutable_keep_checkpoints()->set_every_steps(Below(3));
    Step(CreateJobInput{NextCall(), request, absl::StrCat("uid-", number), ""});
  }

  void Progress(const std::string& id) {
    switch (Below(8)) {
      case 0:
      case 1:
        DeliverUp(id);
        break;
      case 2:
      case 3:
        DeliverDown(id);
        break;
      case 4:
      case 5:
        workers_[id]->Work(Chance("break", 300));
        break;
      case 6:
        Upload(id);
        break;
      default:
        if (Below(3) == 0) Dial(id);
        if (Below(4) == 0) Pass(Below(400));
    }
  }

  void Fault(const std::string& id) {
    if (Chance("kill", 2500)) {
      LoseStream(id);
      workers_.erase(id);
      AddWorker();
    } else if (Chance("cut", 1500)) {
      LoseStream(id);
    } else if (Chance("freeze", 2500)) {
      frozen_ = id;
      Pass(limits::kHeartbeatTimeoutMs + 500);
      frozen_.clear();
    } else if (Chance("restart", 2500)) {
      while (!streams_.empty()) LoseStream(std::string(streams_.begin()->first), false);
      Boot();
    } else if (Chance("cancel", 40'000)) {
      v1::CancelJobRequest request;
      request.set_name(absl::StrCat("jobs/job", Below(kJobs)));
      Step(CancelJobInput{NextCall(), request});
    }
  }

  // ---- The coordinator and its streams ---------------------------------------------------------

  void Boot() {
    auto machine = CoordinatorMachine::Make(disk_.Read(), disk_, now_);
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
  }

  CallId NextCall() { return static_cast<CallId>(++calls_); }

  // The replies.
  std::vector<Reply> Step(const Input& input) {
    Effects effects = machine_->Step(input, now_);
    disk_.Write(effects.records);
    for (Send& send : effects.sends) {
      for (auto& [id, stream] : streams_) {
        if (stream.connection == send.connection) stream.down.push_back(std::move(send.message));
      }
    }
    for (const Close& close : effects.closes) {
      if (absl::IsInvalidArgument(close.status)) violations_.push_back(close.status.ToString());
      for (auto& [id, stream] : streams_) {
        if (stream.connection != close.connection) continue;
        ++counts["closed by the coordinator"];
        workers_[id]->StreamDown();
        streams_.erase(id);
        break;
      }
    }
    return std::move(effects.replies);
  }

  void Dial(const std::string& id) {
    if (streams_.count(id) > 0) return;
    Stream& stream = streams_[id];
    stream.connection = static_cast<ConnectionId>(++connections_);
    stream.heartbeat_due_ms = now_.monotonic_ms + limits::kHeartbeatIntervalMs;
    workers_[id]->StreamUp();
  }

  void LoseStream(const std::string& id, bool told = true) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    const ConnectionId connection = found->second.connection;
    const bool known = found->second.up.empty() || !found->second.up.front().has_hello();
    streams_.erase(found);
    workers_[id]->StreamDown();
    if (told && known) Step(DisconnectedInput{connection, "the stream was closed"});
  }

  void Collect(const std::string& id) {
    const auto stream = streams_.find(id);
    for (v1::WorkerMessage& message : workers_[id]->TakeOutput()) {
      if (stream != streams_.end()) stream->second.up.push_back(std::move(message));
    }
  }

  bool DeliverUp(const std::string& id) {
    Collect(id);
    const auto stream = streams_.find(id);
    if (stream == streams_.end() || stream->second.up.empty()) return false;
    const v1::WorkerMessage message = std::move(stream->second.up.front());
    stream->second.up.pop_front();
    if (message.has_hello()) {
      counts["held state again"] += message.hello().held().has_state();
      Step(ConnectedInput{stream->second.connection, message.hello()});
    } else {
      Step(WorkerInput{stream->second.connection, message});
    }
    return true;
  }

  bool DeliverDown(const std::string& id) {
    const auto stream = streams_.find(id);
    if (stream == streams_.end() || stream->second.down.empty()) return false;
    const v1::CoordinatorMessage message = std::move(stream->second.down.front());
    stream->second.down.pop_front();
    workers_[id]->Receive(message);
    return true;
  }

  void Upload(const std::string& id) {
    std::optional<v1::UploadCheckpointRequest> header = workers_[id]->TakeUpload();
    if (!header) return;
    absl::Status status = Step(BeginUploadInput{NextCall(), *header}).front().answer.status();
    if (status.ok()) {
      status = Step(FinishUploadInput{NextCall(), *header}).front().answer.status();
    }
    counts["checkpoints"] += status.ok();
    workers_[id]->UploadDone(status);
  }

  void Pass(int64_t ms) {
    for (const int64_t end = now_.monotonic_ms + ms; now_.monotonic_ms < end;) {
      const int64_t tick = std::min<int64_t>(limits::kTickIntervalMs, end - now_.monotonic_ms);
      now_.monotonic_ms += tick;
      now_.unix_ms += tick;
      for (auto& [id, stream] : streams_) {
        if (id == frozen_ || now_.monotonic_ms < stream.heartbeat_due_ms) continue;
        // They overtake what waits, but for the Hello.
        if (!stream.up.empty() && stream.up.front().has_hello()) continue;
        stream.heartbeat_due_ms = now_.monotonic_ms + limits::kHeartbeatIntervalMs;
        v1::WorkerMessage heartbeat;
        heartbeat.mutable_heartbeat();
        stream.up.push_front(heartbeat);
      }
      for (const auto& [id, worker] : workers_) {
        const auto stream = streams_.find(id);
        if (stream == streams_.end() || stream->second.up.empty()) continue;
        if (stream->second.up.front().has_heartbeat()) DeliverUp(id);
      }
      Step(TickInput{});
    }
  }

  // ---- The end
  // -----------------------------------------------------------------------------------

  bool AtRest() {
    for (const auto& [uid, record] : disk_.jobs()) {
      if (!IsEnded(record.job.state())) return false;
    }
    for (const auto& [id, worker] : workers_) {
      if (!worker->idle() || worker->holds_engine()) return false;
    }
    return true;
  }

  void Check() {
    for (const auto& [uid, record] : disk_.jobs()) {
      const v1::Job& job = record.job;
      ++counts[v1::JobState_Name(job.state())];
      counts["recoveries"] += job.recoveries();
      counts["restarts"] += job.restarts();
      counts["generations"] += job.generation();
      if (!IsEnded(job.state()) || job.state() == v1::FAILED) {
        violations_.push_back(job.ShortDebugString());
      }
      const int64_t every = job.spec().keep_checkpoints().every_steps();
      for (int64_t kept = every; every > 0 && kept <= job.committed_steps(); kept += every) {
        // The last ones of a cancelled job may have been under way.
        if (job.state() != v1::SUCCEEDED) break;
        ++counts["kept"];
        if (disk_.checkpoints(uid).count(kept) == 0) {
          violations_.push_back(absl::StrCat(job.name(), " did not keep step ", kept));
        }
      }
      HyperState state;
      int64_t step = 0;
      for (const uint64_t checksum : disk_.steps(uid)) {
        ++counts["steps checked"];
        const auto result = evograd::testing::ComputeStep(job.spec(), step++, &state);
        if (checksum != result.state_checksum()) {
          violations_.push_back(absl::StrCat(job.name(), " went astray before step ", step));
        }
      }
    }
    for (const auto& [id, worker] : workers_) {
      if (worker->holds_engine()) violations_.push_back(absl::StrCat(id, " still holds a job"));
    }
  }

  Now now_{1'000'000, 1'700'000'000'000};
  Common common_;
  std::map<std::string, int64_t> weights_;
  evograd::testing::MemoryStore disk_;
  std::unique_ptr<CoordinatorMachine> machine_;
  std::map<std::string, std::unique_ptr<SimWorker>> workers_;
  std::map<std::string, Stream> streams_;
  std::string frozen_;
  std::vector<std::string> violations_;
  int64_t calls_ = 0;
  int64_t connections_ = 0;
  int ids_ = 0;
};

TEST(AgentCoordinatorTest, TheTwoMachinesAgree) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Service service(seed);
    service.Disturb();
    service.Calm();
    ASSERT_THAT(service.violations(), ::testing::IsEmpty()) << "seed " << seed;
  }
  std::string line = absl::StrCat("{\"name\": \"agent and coordinator\", \"seeds\": ", kSeeds,
                                  ", \"actions\": ", kSeeds * kActions, ", \"violations\": 0");
  for (const auto& [name, count] : counts) absl::StrAppend(&line, ", \"", name, "\": ", count);
  std::printf("%s}\n", line.c_str());
  for (const char* name : {"kill", "cut", "freeze", "restart", "break", "cancel", "checkpoints",
                           "held state again", "kept", "recoveries", "restarts", "SUCCEEDED"}) {
    EXPECT_GT(counts[name], 0) << name << " never happened";
  }
}

}  // namespace
}  // namespace evograd::sim
