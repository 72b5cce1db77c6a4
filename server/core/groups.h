// The worker groups of all jobs: how generations begin and end, who is placed where, and how a job
// ends. See docs/architecture.md, "Membership". Works on the machine's state; one thread.
#ifndef EVOGRAD_SERVER_CORE_GROUPS_H_
#define EVOGRAD_SERVER_CORE_GROUPS_H_

#include <map>
#include <string>
#include <vector>

#include "server/core/machine_state.h"
#include "server/core/placement_policy.h"

namespace evograd {

class Groups {
 public:
  explicit Groups(MachineState* state) : state_(*state) {}

  // The job's running generation is over: all members are told. Nothing where none runs.
  void EndGeneration(JobEntry* job, const std::string& reason);

  // The worker's stream is closed; it is removed.
  void WorkerLost(WorkerEntry* worker, const std::string& reason);

  // The worker left its generation, on request or unasked, and holds what is said.
  void WorkerLeft(WorkerEntry* worker, const v1::GenerationLeft& left);

  // Something failed at the job on this worker, a member or a newcomer: it is set aside, and the
  // job goes on with others; or the job fails, where every worker would meet the same or several
  // did.
  void WorkerFailed(WorkerEntry* worker, JobEntry* job, v1::FailureScope scope, v1::JobError error);
  // A newcomer is ready to join.
  void WorkerPrepared(WorkerEntry* worker);
  // The job got further: `newly` by a step that was not committed before.
  void Progressed(JobEntry* job, bool newly);

  // What its members hold is not gone on with.
  void Distrust(JobEntry* job);

  // Whether a worker that holds the job's state is not taken back. Its streams may have broken
  // before; where they do so again and again the others go on without it.
  bool LeftOut(const JobEntry& job, const WorkerEntry& worker) const;
  // A worker came (back) with the state of a job that goes on: it is asked to leave its old
  // generation, and earlier losses keep it from the job no longer.
  void Reattach(JobEntry* job, WorkerEntry* worker, int64_t generation);

  // Has the worker drop `job_name`, whatever it holds of it.
  void Release(WorkerEntry* worker, const std::string& job_name);
  void WorkerReleased(WorkerEntry* worker);

  void FailJob(JobEntry* job, v1::JobError error);
  // Ends the job and releases its workers; error and figures are already set.
  void EndJob(JobEntry* job, v1::JobState state, const std::string& reason);

  // Closes the streams of workers that are silent or did not answer in time, and ends generations
  // in which nothing moves.
  void CheckDeadlines();

  // Cuts every generation that can be cut now. To be called at the end of each step.
  void Settle();

 private:
  void Enter(WorkerEntry* worker, WorkerPhase phase) {
    worker->phase = phase;
    worker->since_ms = state_.now.monotonic_ms;
    state_.dirty = true;
  }

  // The workers of a job.
  struct Held {
    std::vector<WorkerEntry*> members;
    std::vector<WorkerEntry*> prepared;
    std::vector<WorkerEntry*> preparing;

    // Those that its next generation can count on.
    size_t ready() const { return members.size() + prepared.size(); }
    bool empty() const { return ready() == 0; }
  };
  using Members = std::map<std::string, Held>;

  // A worker is not used for the job, or for any, for a while; the job's user is told.
  void PutAside(const WorkerEntry& worker, JobEntry* job, bool any_job, const std::string& reason);
  // A worker was lost before it had computed anything for the job.
  void BlameForLoss(const WorkerEntry& worker, JobEntry* job, const std::string& reason);
  // Whether what failed on the worker fails the job.
  bool IsTheJobsFault(const JobEntry& job, const WorkerEntry& worker);
  // Whether its group is large enough to go on without one.
  bool MayLeaveOut(const JobEntry& job) const;
  // Whether a worker that is connected and not set aside could still do it.
  bool AnotherMayDo(const JobEntry& job, const WorkerId& than);
  // After a generation without a result, whose members could not reach each other: one is set
  // aside. Whether one was.
  bool BlameForUnreachable(JobEntry* job);
  // Why the worker counts as lost; empty: it does not.
  std::string Silence(const WorkerEntry& worker) const;
  // Looks for engines that stand still, and for groups all of whose members wait for each other.
  void WatchProgress();
  void WatchGroup(JobEntry* job);
  // What the member's engine does instead of getting on; empty: nothing that is known.
  std::string Standstill(const JobEntry& job, const WorkerEntry& member) const;

  void SettleOnce();
  Members MembersByJob();
  // Lets newcomers that are ready into the running group.
  void AdmitPrepared(JobEntry* job, const Held& held);
  void Prepare(JobEntry* job, const std::vector<WorkerId>& added);
  Placement PlaceAll(std::vector<Demand> engaged);
  // Why nothing may begin yet; false where it may.
  bool MustRest(JobEntry* job);
  v1::StartGeneration StartMessage(const JobEntry& job) const;
  Make MakeOf(const WorkerEntry& worker) const;
  // Whether one of those that are missing may still come with the job's state.
  bool HolderMayReturn(const Group& group) const;
  // Whether the job's next generation has to wait for workers that may come back; a job whose
  // patience is over gives that up, or fails.
  bool MustWait(JobEntry* job, const Held& held);
  // What the job's workers held is lost, as far as is known.
  void GiveUpState(JobEntry* job);
  // It goes on from its last checkpoint, or anew.
  void Restarted(JobEntry* job, const std::string& reason);
  Demand DemandOf(const JobEntry& job, const Held& held) const;
  void Apply(const Placement& placement, Members* members);
  void Cut(JobEntry* job, const Held& held, const std::vector<WorkerId>& added);
  void Start(JobEntry* job, const std::vector<WorkerEntry*>& ranks);
  void Wait(JobEntry* job, const Held& held, const std::string& reason);
  void ResolveStuckGroups(const Members& members);
  void WakeAt(int64_t monotonic_ms);

  MachineState& state_;
  // Settle has to look again at this time though nothing happened; 0: need not.
  int64_t wake_at_ms_ = 0;
  // Uids of the waiting jobs that the last look came to.
  std::vector<std::string> looked_at_;
};

// Whether anything durable would be repeated by beginning anew.
bool HasProgress(const JobEntry& job);
// 0 where there is none.
int64_t LastCheckpointStep(const JobEntry& job);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_GROUPS_H_
