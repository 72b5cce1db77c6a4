// What clients and their tools ask for: JobService's methods but for the bytes of checkpoints, and
// the begin and end of an upload. Works on the machine's state; one thread.
#ifndef EVOGRAD_SERVER_CORE_JOB_CALLS_H_
#define EVOGRAD_SERVER_CORE_JOB_CALLS_H_

#include <string>

#include "server/core/groups.h"
#include "server/core/machine_state.h"

namespace evograd {

class JobCalls {
 public:
  JobCalls(MachineState* state, Groups* groups) : state_(*state), groups_(*groups) {}

  void Create(const CreateJobInput& input);
  void Get(const GetJobInput& input);
  void List(const ListJobsInput& input);
  void Cancel(const CancelJobInput& input);
  void ListWorkers(const ListWorkersInput& input);

 private:
  absl::StatusOr<v1::Job> CreateOrRepeat(const CreateJobInput& input);
  absl::StatusOr<v1::Job> CancelByName(const std::string& name);
  absl::StatusOr<v1::ListJobsResponse> Page(const v1::ListJobsRequest& request);
  v1::Worker View(const WorkerEntry& entry) const;
  absl::StatusOr<v1::ListWorkersResponse> Page(const v1::ListWorkersRequest& request);

  MachineState& state_;
  Groups& groups_;
};

// The job of a resource name `jobs/{job_id}`. INVALID_ARGUMENT: not such a name, the fault of
// `field`; NOT_FOUND.
absl::StatusOr<JobEntry*> FindJob(JobTable* jobs, const std::string& field,
                                  const std::string& name);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_JOB_CALLS_H_
