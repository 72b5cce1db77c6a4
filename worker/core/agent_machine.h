// The agent's logic, without clock, threads or IO: what a worker does about what its coordinator
// says and what its engine meets. See docs/architecture.md, "Membership".
//
// It promises:
// - Step s starts only when s < committed + pipeline_depth, and no more than that many results wait
//   to be sent.
// - Messages of other generations and of jobs that it does not hold change nothing.
// - What was told to end is answered once per stream, and only when the engine thread has stopped.
// - A lost stream ends nothing: the engine goes on until its pipeline is full, and the state is
//   kept until the coordinator says what becomes of it.
// - At most one engine task and one upload run at a time. A checkpoint that is due while one is
//   under way is left out: training waits for none but the last and those that the job is to keep.
// - No step is made from a state whose checkpoint is to be kept before that is stored, or refused
//   for good: whoever is lost meanwhile, the state is made again.
//
// Threads: one at a time. Handle never fails: what makes no sense is ignored.
//
//   AgentMachine machine(hello);
//   for (const Action& action : machine.Handle(StreamUp{})) Perform(action);
#ifndef EVOGRAD_WORKER_CORE_AGENT_MACHINE_H_
#define EVOGRAD_WORKER_CORE_AGENT_MACHINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/core/inputs.h"

namespace evograd::agent {

class AgentMachine {
 public:
  // `hello` says who the worker is; without what it holds.
  explicit AgentMachine(v1::Hello hello);

  std::vector<Action> Handle(Input input);

 private:
  // The generation that the coordinator put the worker into last.
  struct Membership {
    v1::StartGeneration start;
    // Nothing more is started for it: it was ended, or broke, or its job failed.
    bool over = false;
    // The stream over which it came still stands; results of others would be stale.
    bool attached = true;
    bool joined = false;
    int64_t committed = 0;
    // Rank 0: results that wait until those under way are acknowledged, so that one write to the
    // coordinator's disk serves as many steps as were computed meanwhile.
    std::vector<v1::StepResult> unsent;
    // The acknowledgement that those under way wait for.
    std::optional<int64_t> sent_until;
    // Rank 0: the last step of which a checkpoint was serialised; -1 before the first.
    int64_t serialised_step = -1;
    // Its bytes wait for the acknowledgement of all their steps.
    bool upload_due = false;
    // The last step whose checkpoint was stored, or refused for good; -1 before the first.
    int64_t settled_step = -1;
    bool final_stored = false;
    std::optional<v1::JobFinished> final_figures;
    // JobFinished was sent.
    bool finished = false;
    // JobFailed was sent: the communicator stays open until the coordinator has spoken, so that the
    // others learn the cause and not merely that a peer is gone.
    bool failed = false;
  };

  // A job that others compute, for which the engine is to read the data and be ready.
  struct Preparation {
    v1::StartGeneration start;
    bool told = false;
  };

  // What the engine thread holds, or is about to hold.
  struct Holding {
    std::string job;
    std::string job_uid;
    bool has_state = false;
    int64_t phases = 0;
    // It goes into no other generation: ranks disagreed about it.
    bool in_doubt = false;
    // Of the steps that no stored checkpoint holds, as far as is known here; of those, what the
    // last serialised one holds; and how long that took.
    double unstored_seconds = 0;
    double serialised_seconds = 0;
    double serialise_seconds = 0;
  };

  struct Running {
    EngineTask task;
    int64_t generation;
    bool stopping = false;
  };

  struct Uploading {
    int64_t generation;
    int64_t step;
    bool stopping = false;
  };

  struct LeftAnswer {
    int64_t generation;
    std::string reason;
    std::vector<int> suspects;
  };

  struct ReleaseAnswer {
    std::string job;
    // What the engine held of the job is freed; the job may come back right after.
    bool dropped;
    // False once the stream on which it was asked for is gone.
    bool asked = true;
  };

  void On(const StreamUp&);
  void On(const StreamDown&);
  void On(const v1::CoordinatorMessage& message);
  void On(EngineOutcome outcome);
  void On(const UploadOutcome& outcome);
  void On(const UploadTrouble& trouble);
  void On(const RestoreTrouble& trouble);
  void On(const RendezvousPut& put);
  // For the user of the membership's job.
  void TellTrouble(const std::string& text);
  void OnStart(const v1::StartGeneration& start);
  void OnEnd(const v1::EndGeneration& end);
  void OnRelease(const std::string& job);
  void OnPrepare(const v1::PrepareJob& prepare);
  void Prepared(const EngineOutcome& outcome);
  void Disagree(const EngineOutcome& outcome);

  // Starts, answers and sends what can be now.
  void Proceed();
  // Whether a task was started: what the engine holds of other jobs and generations goes first.
  bool TidyEngine();
  void EnterGeneration();
  void Upload();
  void Work();
  void Finish();
  void AnswerLeft();
  void AnswerRelease();

  // Nothing more is started for the membership, and what runs for it is told to stop; data that is
  // being read serves the next generation too.
  void EndMembership();
  void StopTask();
  // The membership's engine task or upload failed.
  void Fail(const absl::Status& status, v1::FailureScope scope,
            const std::vector<int>& suspects = {});
  void TellFailed(const v1::StartGeneration& start, const absl::Status& status,
                  v1::FailureScope scope);
  void Leave(const std::string& reason, const std::vector<int>& suspects = {});

  bool CheckpointDue() const;
  // Rank 0: the state's checkpoint is to be kept, and is not stored yet.
  bool AwaitsKept() const;
  bool SlotFree() const { return !membership_->upload_due && !uploading_; }
  // Whether the membership is this one and goes on.
  bool IsCurrent(int64_t generation) const;
  bool Holds(const std::string& job) const { return holding_ && holding_->job == job; }
  int64_t steps() const { return membership_->start.spec().steps(); }
  int64_t completed() const { return holding_->phases / 2; }

  v1::HeldState Held() const;
  v1::UploadCheckpointRequest UploadHeader() const;
  void Run(EngineTask task);
  void Tell(v1::WorkerMessage message);
  void KeepForSending(std::vector<v1::StepResult> results, int64_t from_step);
  void SendResults();
  void Note(std::string text);
  template <typename T>
  void Act(T action) {
    actions_.emplace_back(std::move(action));
  }

  const v1::Hello hello_;
  bool connected_ = false;
  bool welcomed_ = false;
  std::optional<Membership> membership_;
  // Not while there is a membership.
  std::optional<Preparation> preparing_;
  std::optional<Holding> holding_;
  std::optional<Running> running_;
  std::optional<Uploading> uploading_;
  // The generation whose communicator may be open.
  std::optional<int64_t> open_;
  std::optional<LeftAnswer> left_due_;
  // The last generation whose GenerationLeft went over the present stream.
  std::optional<int64_t> left_told_;
  std::optional<ReleaseAnswer> release_due_;
  std::vector<Action> actions_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_CORE_AGENT_MACHINE_H_
