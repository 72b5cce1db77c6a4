// Goal: whatever coordinator, stream and engine do, in any order, the machine keeps its promises:
// one task and one upload at a time, no step beyond the pipeline, nothing sent before the Hello or
// without a stream, one GenerationLeft per generation and stream; and when everything has come to
// rest, it leaves, releases and takes the next job. Method: random inputs of 3000 seeds into the
// real machine, with an engine that fails at random; the promises are checked at every action.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "worker/core/agent_machine.h"

namespace evograd::agent {
namespace {

constexpr int kSeeds = 3000;
constexpr int kInputs = 120;

class World {
 public:
  explicit World(int seed) : random_(seed), trouble_(2 << Random(6)), machine_(v1::Hello()) {}

  void Disturb() {
    const bool trouble = Random(trouble_) == 0;
    if (!connected_ && trouble) return Up();
    switch (trouble ? Random(6) : 6 + Random(6)) {
      case 0:
        return Down();
      case 1:
      case 2:
        return Start(generation_ + 1);
      case 3:
        // Repeated or stale.
        return member_ ? Start(generation_ - Random(2)) : void();
      case 4:
        return End(generation_ - Random(2));
      case 5:
        return Release(job_);
      case 6:
      case 7:
        return Acknowledge();
      case 8:
        return Put();
      case 9:
        return EndUpload();
      default:
        return EndTask(Random(4 * trouble_) == 0);
    }
  }

  // Nothing fails any more: a job must come to its first result and go again.
  void ExpectThatAJobIsDone() {
    if (!connected_) Up();
    Rest();
    End(generation_);
    Rest();
    Release("jobs/0");
    Release("jobs/1");
    Rest();
    ASSERT_FALSE(engine_holds_);
    ASSERT_EQ(released_.count("jobs/0") + released_.count("jobs/1"), 2);
    Start(generation_ + 1);
    const int64_t before = results_;
    Rest();
    ASSERT_TRUE(engine_holds_);
    ASSERT_TRUE(rank_ != 0 || results_ > before);
    End(generation_);
    Rest();
    ASSERT_TRUE(left_.count(generation_));
  }

  int64_t steps_run() const { return steps_run_; }
  int64_t uploads() const { return uploads_; }
  int64_t finished() const { return finished_; }

 private:
  int64_t Random(int n) { return static_cast<int64_t>(random_() % n); }

  void Handle(Input input) {
    for (const Action& action : machine_.Handle(std::move(input))) {
      std::visit([this](const auto& a) { Check(a); }, action);
      if (testing::Test::HasFatalFailure()) return;
    }
  }

  void Up() {
    connected_ = true;
    hello_due_ = true;
    left_.clear();
    released_.clear();
    Handle(StreamUp{});
    ASSERT_FALSE(hello_due_);
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome();
    Handle(welcome);
  }

  void Down() {
    connected_ = false;
    Handle(StreamDown{});
  }

  void Start(int64_t generation) {
    if (!connected_) return;
    v1::CoordinatorMessage message;
    v1::StartGeneration* start = message.mutable_start_generation();
    if (generation > generation_) {
      member_ = true;
      job_ = Random(4) == 0 ? "jobs/1" : "jobs/0";
      generation_ = generation;
      rank_ = static_cast<int>(Random(2));
      committed_ = 0;
      depth_ = 1 + Random(3);
    }
    start->set_job(job_);
    start->set_job_uid(job_);
    start->set_generation(generation);
    start->set_rank(rank_);
    start->set_size(2);
    start->set_donor_holds_state(rank_ == 0 && engine_holds_ && has_state_ && uid_ == job_);
    start->mutable_spec()->set_steps(kSteps);
    start->mutable_spec()->set_pipeline_depth(static_cast<int>(depth_));
    start->mutable_spec()->set_checkpoint_interval_steps(2);
    Handle(message);
  }

  void End(int64_t generation) {
    if (!connected_) return;
    v1::CoordinatorMessage message;
    message.mutable_end_generation()->set_job(job_);
    message.mutable_end_generation()->set_generation(generation);
    Handle(message);
  }

  void Release(const std::string& job) {
    if (!connected_) return;
    if (job == job_) member_ = false;
    v1::CoordinatorMessage message;
    message.mutable_release_job()->set_job(job);
    Handle(message);
  }

  void Acknowledge() {
    if (!connected_) return;
    v1::CoordinatorMessage message;
    message.mutable_acknowledge()->set_job(job_);
    message.mutable_acknowledge()->set_generation(generation_);
    committed_ = std::max(committed_, phases_ / 2);
    message.mutable_acknowledge()->set_committed_steps(committed_);
    Handle(message);
  }

  void Put() { Handle(RendezvousPut{generation_, "k", "v"}); }

  void EndUpload(bool may_fail = true) {
    if (!uploading_) return;
    uploading_ = false;
    ++uploads_;
    if (upload_stopped_) return Handle(UploadOutcome{absl::CancelledError("stopped")});
    const bool fails = may_fail && Random(3) == 0;
    Handle(UploadOutcome{fails ? absl::AbortedError("stale") : absl::OkStatus()});
  }

  // Ends the engine's task; well, unless it was stopped or is to fail.
  void EndTask(bool fail) {
    if (!running_) return;
    const EngineTask task = *std::exchange(running_, std::nullopt);
    EngineOutcome outcome;
    if (stopped_ && Random(2) == 0) outcome.status = absl::CancelledError("stopped");
    if (fail)
      outcome.status = Random(2) == 0 ? absl::UnavailableError("x") : absl::DataLossError("x");
    const bool ok = outcome.status.ok();
    switch (task) {
      case EngineTask::kPrepare:
        engine_holds_ = ok;
        has_state_ = false;
        phases_ = 0;
        break;
      case EngineTask::kJoin:
        has_state_ = has_state_ || ok;
        break;
      case EngineTask::kStep:
        if (ok) {
          phases_ = phases_ / 2 * 2 + 2;
          outcome.results.emplace_back().set_step(phases_ / 2 - 1);
          ++steps_run_;
        }
        break;
      case EngineTask::kLeave:
        outcome.status = absl::OkStatus();
        break;
      case EngineTask::kDrop:
        outcome.status = absl::OkStatus();
        engine_holds_ = has_state_ = false;
        phases_ = 0;
        break;
      default:
        break;
    }
    outcome.has_state = has_state_;
    outcome.phases = phases_;
    Handle(std::move(outcome));
  }

  void Rest() {
    for (int i = 0; i < 100 && (running_ || uploading_); ++i) {
      EndTask(false);
      EndUpload(false);
    }
    ASSERT_FALSE(running_) << "the machine never comes to rest";
  }

  void Check(const Send& send) {
    const v1::WorkerMessage& m = send.message;
    ASSERT_TRUE(connected_);
    ASSERT_EQ(m.has_hello(), hello_due_);
    hello_due_ = false;
    if (m.has_results()) {
      ASSERT_EQ(m.results().generation(), generation_);
      ASSERT_EQ(rank_, 0);
      ++results_;
    }
    if (m.has_generation_left()) {
      const v1::HeldState& held = m.generation_left().held();
      if (held.job_uid().empty()) return;  // of a job that is not held: may be said again
      ASSERT_TRUE(left_.insert(held.generation()).second) << held.DebugString();
      ASSERT_TRUE(!running_ || *running_ == EngineTask::kPrepare);
    }
    if (m.has_released()) {
      released_.insert(m.released().job());
      ASSERT_FALSE(engine_holds_ && uid_ == m.released().job());
    }
    if (m.has_finished()) {
      ASSERT_EQ(phases_, 2 * kSteps);
      ++finished_;
    }
  }

  void Check(const RunEngine& run) {
    ASSERT_FALSE(running_) << "two tasks at a time";
    running_ = run.task;
    stopped_ = false;
    if (run.task == EngineTask::kPrepare) {
      ASSERT_FALSE(engine_holds_);
      uid_ = run.start.job_uid();
    } else {
      ASSERT_TRUE(engine_holds_);
    }
    if (run.task == EngineTask::kJoin) {
      ASSERT_FALSE(open_) << "two communicators";
      ASSERT_EQ(run.start.generation(), generation_);
      open_ = true;
    }
    if (run.task == EngineTask::kLeave || run.task == EngineTask::kDrop) open_ = false;
    if (run.task == EngineTask::kStep) {
      ASSERT_LT(phases_ / 2, committed_ + depth_);
      ASSERT_LT(phases_ / 2, kSteps);
    }
  }

  void Check(const StopEngine&) {
    ASSERT_TRUE(running_);
    ASSERT_FALSE(stopped_);
    stopped_ = true;
  }

  void Check(const StartUpload& upload) {
    ASSERT_FALSE(uploading_) << "two uploads at a time";
    ASSERT_LE(upload.header.step(), committed_);
    uploading_ = true;
    upload_stopped_ = false;
  }
  void Check(const StopUpload&) {
    ASSERT_TRUE(uploading_);
    upload_stopped_ = true;
  }

  void Check(const OpenRendezvous& open) { ASSERT_EQ(open.generation, generation_); }
  void Check(const DeliverRendezvous&) {}
  void Check(const CloseRendezvous&) {}
  void Check(const Say&) {}

  static constexpr int64_t kSteps = 4;

  std::mt19937 random_;
  // One of so many inputs is no progress.
  const int trouble_;
  AgentMachine machine_;
  // The coordinator's view.
  bool connected_ = false;
  std::string job_ = "jobs/0";
  bool member_ = false;
  int64_t generation_ = 1;
  int rank_ = 0;
  int64_t committed_ = 0;
  int64_t depth_ = 1;
  // The engine.
  std::optional<EngineTask> running_;
  bool stopped_ = false;
  bool engine_holds_ = false;
  std::string uid_;
  bool has_state_ = false;
  int64_t phases_ = 0;
  bool open_ = false;
  bool uploading_ = false;
  bool upload_stopped_ = false;
  // What was sent.
  bool hello_due_ = false;
  std::set<int64_t> left_;
  std::set<std::string> released_;
  int64_t results_ = 0;
  int64_t steps_run_ = 0;
  int64_t uploads_ = 0;
  int64_t finished_ = 0;
};

TEST(AgentMachineRandomTest, KeepsItsPromises) {
  int64_t steps = 0;
  int64_t uploads = 0;
  int64_t finished = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    World world(seed);
    for (int i = 0; i < kInputs && !HasFatalFailure(); ++i) world.Disturb();
    if (!HasFatalFailure()) world.ExpectThatAJobIsDone();
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
    steps += world.steps_run();
    uploads += world.uploads();
    finished += world.finished();
  }
  // The seeds reach what they are for.
  EXPECT_GT(steps, kSeeds);
  EXPECT_GT(uploads, kSeeds / 10);
  EXPECT_GT(finished, kSeeds / 100);
}

}  // namespace
}  // namespace evograd::agent
