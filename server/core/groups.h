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
  void WorkerLeft(WorkerEntry* worker, bool has_state, int64_t phases, const std::string& reason);

  // A worker came (back) with the state of a job that goes on: it is asked to leave its old
  // generation.
  void Reattach(JobEntry* job, WorkerEntry* worker, int64_t generation);

  // Has the worker drop `job_name`, whatever it holds of it.
  void Release(WorkerEntry* worker, const std::string& job_name);
  void WorkerReleased(WorkerEntry* worker);

  void FailJob(JobEntry* job, v1::JobError error);
  // Ends the job and releases its workers; error and figures are already set.
  void EndJob(JobEntry* job, v1::JobState state, const std::string& reason);

  // Closes the streams of workers that are silent or did not answer in time.
  void CheckDeadlines();

  // Cuts every generation that can be cut now. To be called at the end of each step.
  void Settle();

 private:
  using Members = std::map<std::string, std::vector<WorkerEntry*>>;

  void SettleOnce();
  Members MembersByJob();
  // Whether the job's next generation has to wait for workers that may come back; a job whose
  // patience is over begins its restart, or fails.
  bool MustWait(JobEntry* job, const std::vector<WorkerEntry*>& held);
  void BeginRestart(JobEntry* job);
  Demand DemandOf(const JobEntry& job, const std::vector<WorkerEntry*>& held) const;
  void Apply(const Placement& placement, Members* members);
  void Cut(JobEntry* job, std::vector<WorkerEntry*> held, const std::vector<WorkerId>& added);
  void Start(JobEntry* job, const std::vector<WorkerEntry*>& ranks);
  void Wait(JobEntry* job, bool holds_workers, const std::string& reason);
  void ResolveStuckGroups(const Members& members);
  void WakeAt(int64_t monotonic_ms);

  MachineState& state_;
  // Settle has to look again at this time though nothing happened; 0: need not.
  int64_t wake_at_ms_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_GROUPS_H_
