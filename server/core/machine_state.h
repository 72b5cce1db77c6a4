// What the parts of the coordinator's machine share during one step: the tables, the time, the
// effects so far.
#ifndef EVOGRAD_SERVER_CORE_MACHINE_STATE_H_
#define EVOGRAD_SERVER_CORE_MACHINE_STATE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "server/core/inputs.h"
#include "server/core/job_table.h"
#include "server/core/set_aside.h"
#include "server/core/worker_table.h"

namespace evograd {

struct MachineState {
  explicit MachineState(const StepLog& step_log) : step_log(step_log) {}

  JobTable jobs;
  WorkerTable workers;
  SetAside set_aside;
  std::map<std::string, RequestRecord> requests;
  int64_t incarnation = 0;
  const StepLog& step_log;

  // When a worker last became free.
  int64_t last_freed_ms = 0;
  // Membership, a group's phase or the set of jobs changed: Groups::Settle has to look again.
  bool dirty = true;

  // Of the step in progress.
  Now now;
  Effects effects;
  // Uids of jobs whose record is to be written at the end of the step.
  std::map<std::string, JobEntry*> touched;

  // The job's record will be written.
  void Touch(JobEntry* job) { touched[job->uid()] = job; }

  // Appends to the job's events and gives the new one, its sequence and time filled in, to `fill`.
  template <typename Fill>
  void AddEvent(JobEntry* job, Fill fill) {
    EventRecord record{job->uid(), NewEvent(job)};
    fill(&record.event);
    effects.records.push_back(std::move(record));
  }

  // With an event.
  void SetState(JobEntry* job, v1::JobState state, const std::string& reason);

  // A line in the job's events; `worker` empty: it concerns none.
  void AddNotice(JobEntry* job, const WorkerId& worker, const std::string& text);

  void SendTo(const WorkerEntry& worker, v1::CoordinatorMessage message);
  void Answer(CallId call, absl::StatusOr<Answer> answer);

  // Writes the records of touched jobs and hands the effects out.
  Effects Finish();

  // The job as users see it now: with the reason for its state as it stands.
  v1::Job View(const JobEntry& job) const;

 private:
  std::string Reason(const JobEntry& job) const;
  // "; w1 is at `step 12`", or that all wait for each other, where there was no step for a while,
  // and what else is wrong. How long is said by last_step_time.
  std::string Silence(const JobEntry& job) const;
  // "w2, at `step 12`," of the group that is to be left.
  std::string WhoHasNotLeft(const JobEntry& job) const;
  v1::Event NewEvent(JobEntry* job);
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_MACHINE_STATE_H_
