// The jobs that the coordinator knows, ended ones included, in memory. Plain state: all rules are
// in the machine. One thread.
#ifndef EVOGRAD_SERVER_CORE_JOB_TABLE_H_
#define EVOGRAD_SERVER_CORE_JOB_TABLE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "common/ids.h"
#include "server/core/hyper_track.h"
#include "server/core/records.h"

namespace evograd {

enum class GroupPhase {
  kNone,     // no generation; the workers assigned, if any, hold the job between generations
  kRunning,  // StartGeneration was sent to all of `ranks`
  kLeaving,  // EndGeneration was sent to those living; their answers are awaited
};

// The worker group of a job that has not ended. None of it is durable.
struct Group {
  GroupPhase phase = GroupPhase::kNone;
  // Of the last generation cut in this process, by rank.
  std::vector<WorkerId> ranks;
  // The first step whose result can only have been computed in this generation: the donor may bring
  // others with it.
  int64_t first_step = 0;
  // A result that was computed in this generation has come.
  bool progressed = false;
  // A member was lost before that: those lost after it may be so in consequence.
  bool loss_counted = false;
  // The checkpoint that this generation began from; empty where it did not.
  std::string from_checkpoint;
  // That checkpoint turned out to be damaged: the next group begins from another one.
  bool checkpoint_damaged = false;
  // What its members hold is not to be gone on with: it led to results that differ from those of
  // others.
  bool distrusted = false;
  // A member was lost or left since the last generation was cut.
  bool disturbed = false;
  // Why it ended, or who was lost after that.
  std::string disturbance;
  // Why the state that its members held counts as lost; empty: it does not. One that comes back
  // with it is still gone on with.
  std::string state_lost;
  // Members of the last generation that are gone and may come back with their state until
  // `grace_until_ms`.
  std::set<WorkerId> missing;
  int64_t grace_until_ms = 0;
  // After the coordinator's own restart: wait for all that are missing, even where one holder is
  // back.
  bool reattaching = false;
  // Since when it holds workers but too few; 0: it does not.
  int64_t stuck_since_ms = 0;
  // Members could not reach each other: it is not known which of them is at fault.
  bool unreachable = false;
  // Who could not reach whom, both ways.
  std::map<WorkerId, std::set<WorkerId>> estranged;
  // Who left it for a reason of its own, so that others could not reach it.
  std::set<WorkerId> excused;
};

// A worker said that it cannot do its part of the job.
struct WorkerFailure {
  WorkerId worker;
  int64_t generation = 0;
};

// What was tried since the job last got further; it bounds how often the same is tried again.
struct Trials {
  // Generations in a row without a result.
  int fruitless = 0;
  // No generation begins before this time.
  int64_t retry_at_ms = 0;
  // Without a new step: what workers said that failed at the job itself, and starts from a
  // checkpoint.
  std::vector<WorkerFailure> failures;
  int restarts = 0;
  // The last workers that computed a step together.
  std::set<WorkerId> worked;
};

// What only a job that has not ended needs.
struct ActiveJob {
  explicit ActiveJob(const v1::JobSpec& spec) : hyper(spec) {}

  HyperTrack hyper;
  Group group;
  Trials trials;
  // What it waits for, where it waits; empty: it was not looked at since it began to wait.
  std::string waiting;
  // What went wrong beside its steps and still does, such as a checkpoint that cannot be stored.
  std::string trouble;
  int64_t trouble_told_ms = 0;
  // The last that a step computed again came with; its checkpoint may come later.
  v1::Evaluation repeated_evaluation;
  // The last step whose checkpoint was stored, whatever became of it, or refused for good.
  int64_t settled_checkpoint = -1;
  // When its group last got further: a step was committed, or the generation began.
  int64_t last_step_ms = 0;
  // Seconds of the recent steps.
  std::deque<double> recent_seconds;
};

struct JobEntry {
  // Durable.
  JobRecord record;
  int64_t last_event = 0;
  std::map<int64_t, v1::Checkpoint> checkpoints;
  // Null once the job has ended.
  std::unique_ptr<ActiveJob> active;

  v1::Job& job() { return record.job; }
  const v1::Job& job() const { return record.job; }
  const std::string& uid() const { return record.job.uid(); }
};

class JobTable {
 public:
  // Null where there is none.
  JobEntry* FindByUid(const std::string& uid);
  JobEntry* FindByName(const std::string& name);

  // Neither name, uid nor ordinal is in the table. Pointers stay good: jobs are never removed.
  JobEntry* Add(JobEntry entry);

  int64_t next_ordinal() const { return by_ordinal_.empty() ? 1 : by_ordinal_.rbegin()->first + 1; }
  size_t size() const { return by_ordinal_.size(); }
  const std::map<int64_t, JobEntry*>& by_ordinal() const { return by_ordinal_; }
  // Those that have not ended, in the order of creation: those that hold workers, or have to be
  // looked at for another reason; and those that only wait for free workers.
  std::vector<JobEntry*> Engaged() const;
  const std::map<int64_t, JobEntry*>& idle() const { return idle_; }
  // Moves a job that has not ended from one to the other.
  void SetIdle(JobEntry* job, bool idle);
  void Ended(const JobEntry& entry);

 private:
  std::map<std::string, std::unique_ptr<JobEntry>> by_uid_;
  std::map<std::string, JobEntry*> by_name_;
  std::map<int64_t, JobEntry*> by_ordinal_;
  std::map<int64_t, JobEntry*> engaged_;
  std::map<int64_t, JobEntry*> idle_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_JOB_TABLE_H_
