// Goal: no interleaving of messages, faults and restarts breaks a promise of the coordinator (see
// testing/memory_store.h and testing/world.h for the promises that are checked after each action),
// and once faults stop every job ends, with the hyperparameters of an undisturbed run.
//
// Method: seeded random walks over the whole service in one thread. The seed draws first the mix of
// faults (so that some walks have only kills, others only restarts of the coordinator, …), then the
// actions. Workers of the model keep the agent's promises; duplicates, delays, cuts, freezes, kills
// and uncommitted batches are the network's, the machines' and the disk's faults. The last line
// says how often each thing happened: a walk that reached nothing would show.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/job_state.h"
#include "server/core/testing/world.h"

namespace evograd {
namespace {

using testing::World;

constexpr int kWorkers = 5;
constexpr int kJobs = 3;

// How often things happen, of all walks together.
std::map<std::string, int64_t> counts;

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) {
    for (const char* fault : {"kill", "rebirth", "cut", "freeze", "restart", "hold", "duplicate",
                              "cancel", "leave", "stale", "slow"}) {
      // About half of the kinds of faults take part in a walk.
      weights_[fault] = Below(2) == 0 ? 0 : 1 + Below(8);
    }
    for (int i = 0; i < kWorkers; ++i) world_.AddWorker(NewId());
  }

  void Run(int actions) {
    for (int i = 0; i < kJobs; ++i) CreateJob(i);
    for (int i = 0; i < actions && world_.violations().empty(); ++i) Act();
    Calm();
  }

  const std::vector<std::string>& violations() { return world_.violations(); }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool Chance(const std::string& fault, int64_t of) { return Below(of) < weights_[fault]; }
  std::string NewId() { return absl::StrCat("w", ++ids_); }

  std::string AnyWorker() {
    auto worker = world_.workers().begin();
    std::advance(worker, Below(static_cast<int64_t>(world_.workers().size())));
    return worker->first;
  }

  void CreateJob(int number) {
    v1::CreateJobRequest request =
        testing::ToyRequest(absl::StrCat("job", number), 5 + Below(20), 1 + Below(2), 2 + Below(2));
    request.mutable_spec()->set_pipeline_depth(1 + Below(4));
    request.mutable_spec()->set_checkpoint_interval_steps(Below(2) * 4);
    request.mutable_spec()->set_max_restarts(1000);
    request.mutable_spec()->set_seed(static_cast<uint64_t>(Below(100)));
    v1::KeepCheckpoints* keep = request.mutable_spec()->mutable_keep_checkpoints();
    keep->set_every_steps(Below(2) * 3);
    if (Below(2) == 0) {
      request.mutable_spec()->set_evaluation_interval_steps(2);
      keep->set_best_metric("score");
    }
    ASSERT_TRUE(world_.Create(request).ok());
  }

  // One thing happens: mostly work and messages, in any order, now and then a fault.
  void Act() {
    const std::string id = AnyWorker();
    switch (Below(8)) {
      case 0:
      case 1:
      case 2:
        if (world_.DeliverToCoordinator(id)) ++counts["delivered up"];
        break;
      case 3:
      case 4:
        if (world_.DeliverToWorker(id)) ++counts["delivered down"];
        break;
      case 5:
      case 6:
        world_.Work(id);
        break;
      default:
        if (!world_.IsConnected(id) && Below(3) == 0) world_.Dial(id);
        if (Below(4) == 0) world_.Pass(Below(400));
    }
    Fault(id);
    if (holding_ && Below(5) == 0) {
      holding_ = false;
      world_.Commit();
    }
  }

  void Fault(const std::string& id) {
    if (Chance("kill", 3000)) {
      Count("kill");
      world_.Kill(id);
      world_.AddWorker(NewId());
    } else if (Chance("rebirth", 3000)) {
      Count("rebirth");
      world_.Kill(id);
      world_.AddWorker(id);
    } else if (Chance("cut", 2000)) {
      Count("cut");
      world_.CutStream(id);
    } else if (Chance("freeze", 3000)) {
      Count("freeze");
      world_.Freeze(id);
      world_.Pass(Below(2) * (limits::kHeartbeatTimeoutMs + 500));
      world_.Thaw(id);
    } else if (Chance("restart", 3000)) {
      Count("restart");
      holding_ = false;
      world_.RestartCoordinator();
    } else if (Chance("hold", 400) && !holding_) {
      Count("hold");
      holding_ = true;
      world_.HoldCommits();
    } else if (Chance("duplicate", 300)) {
      if (world_.Duplicate(id)) Count("duplicate");
    } else if (Chance("cancel", 60'000)) {
      Count("cancel");
      world_.Cancel(absl::StrCat("job", Below(kJobs))).IgnoreError();
    } else if (Chance("leave", 2000)) {
      Count("leave");
      world_.worker(id)->LeaveUnasked("a collective ran past its deadline");
    } else if (Chance("stale", 200)) {
      InjectStale(id);
    } else if (Chance("slow", 1000)) {
      Count("slow");
      world_.HoldUploads(Below(3) != 0);
    }
  }

  // A message of a generation that is not the sender's, as a paused worker might send: it must
  // change nothing.
  void InjectStale(const std::string& id) {
    const testing::ModelWorker& worker = *world_.worker(id);
    if (!world_.IsConnected(id) || holding_ || !worker.holds_job()) return;
    const int64_t generation = worker.generation() + (Below(2) == 0 ? -1 : 1);
    v1::WorkerMessage message;
    switch (Below(3)) {
      case 0:
        message.mutable_results()->set_job("jobs/job0");
        message.mutable_results()->set_generation(generation);
        message.mutable_results()->add_results()->mutable_metrics();
        break;
      case 1:
        message.mutable_failed()->set_job("jobs/job0");
        message.mutable_failed()->set_generation(generation);
        message.mutable_failed()->mutable_error()->set_code(13);
        break;
      default:
        message.mutable_generation_left()->mutable_held()->set_job_uid(worker.job_uid());
        message.mutable_generation_left()->mutable_held()->set_generation(generation);
    }
    // The coordinator may have moved on to the generation that the message names: then it is not
    // stale.
    for (const auto& [uid, record] : world_.disk().jobs()) {
      if (record.job.generation() == generation) return;
    }
    Count("stale");
    const Effects effects = world_.Inject(id, message);
    EXPECT_TRUE(effects.records.empty() && effects.sends.empty() && effects.closes.empty())
        << message.ShortDebugString() << " from " << id << " in " << worker.generation();
  }

  void Count(const std::string& fault) { ++counts[fault]; }

  // Faults stop: every job ends in bounded time.
  void Calm() {
    if (holding_) world_.Commit();
    world_.HoldUploads(false);
    for (int64_t passed = 0; passed < 2 * limits::kSetAsideMaxMs && !AllEnded(); passed += 1000) {
      for (const auto& [id, worker] : world_.workers()) world_.Dial(id);
      world_.Quiesce();
      world_.Pass(1000);
    }
    for (const auto& [uid, record] : world_.disk().jobs()) CheckEnded(record.job);
  }

  bool AllEnded() {
    for (const auto& [uid, record] : world_.disk().jobs()) {
      if (!IsEnded(record.job.state())) return false;
    }
    return true;
  }

  void CheckEnded(const v1::Job& job) {
    ++counts[v1::JobState_Name(job.state())];
    counts["recoveries"] += job.recoveries();
    counts["restarts from a checkpoint"] += job.restarts();
    counts["generations"] += job.generation();
    EXPECT_TRUE(IsEnded(job.state())) << job.ShortDebugString();
    EXPECT_NE(job.error().code(), static_cast<int>(absl::StatusCode::kDataLoss))
        << job.ShortDebugString();
    if (job.state() == v1::SUCCEEDED) {
      EXPECT_EQ(job.committed_steps(), job.spec().steps());
      CheckKept(job);
    }
    HyperState state;
    int64_t step = 0;
    for (const uint64_t checksum : world_.disk().steps(job.uid())) {
      ++counts["steps checked"];
      EXPECT_EQ(checksum, testing::ComputeStep(job.spec(), step++, &state).state_checksum());
    }
  }

  // What the job asked to keep is there, whatever happened meanwhile.
  void CheckKept(const v1::Job& job) {
    const v1::JobSpec& spec = job.spec();
    const std::map<int64_t, v1::Checkpoint>& stored = world_.disk().checkpoints(job.uid());
    const int64_t every = spec.keep_checkpoints().every_steps();
    for (int64_t step = every; every > 0 && step <= spec.steps(); step += every) {
      EXPECT_EQ(stored.count(step), 1) << "step " << step << " of " << job.ShortDebugString();
      ++counts["kept"];
    }
    if (spec.keep_checkpoints().best_metric().empty()) return;
    double best = testing::Score(spec, spec.steps());
    for (int64_t step = 2; step < spec.steps(); step += 2) {
      best = std::max(best, testing::Score(spec, step));
    }
    double marked = -1;
    for (const auto& [step, checkpoint] : stored) {
      if (checkpoint.best()) marked = testing::Score(spec, step);
    }
    EXPECT_EQ(marked, best) << job.ShortDebugString();
    ++counts["best"];
  }

  std::mt19937_64 random_;
  std::map<std::string, int64_t> weights_;
  World world_;
  bool holding_ = false;
  int ids_ = 0;
};

TEST(Simulation, NoInterleavingBreaksAPromise) {
  constexpr int kWalks = 800;
  constexpr int kActions = 4000;
  for (uint64_t seed = 1; seed <= kWalks; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Walk walk(seed);
    walk.Run(kActions);
    ASSERT_THAT(walk.violations(), ::testing::IsEmpty());
    if (HasFailure()) break;
  }
  std::string line = absl::StrCat("{\"name\": \"coordinator simulation\", \"seeds\": ", kWalks,
                                  ", \"actions\": ", kWalks * kActions);
  for (const auto& [name, count] : counts) absl::StrAppend(&line, ", \"", name, "\": ", count);
  std::printf("%s}\n", line.c_str());
  // A walk that reaches nothing proves nothing.
  for (const char* name : {"kill", "rebirth", "cut", "freeze", "restart", "hold", "duplicate",
                           "cancel", "leave", "stale", "slow", "kept", "best", "recoveries",
                           "restarts from a checkpoint", "SUCCEEDED", "CANCELLED"}) {
    EXPECT_GT(counts[name], 0) << name << " never happened";
  }
}

}  // namespace
}  // namespace evograd
