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
  // A result of this generation has come.
  bool progressed = false;
  // The checkpoint that this generation began from; empty where it did not.
  std::string from_checkpoint;
  // That checkpoint turned out to be damaged: what its restorer says about its failure is no news.
  bool checkpoint_damaged = false;
  // A member was lost or left since the last generation was cut.
  bool disturbed = false;
  std::string disturbance;
  // Members of the last generation that are gone and may come back with their state until
  // `grace_until_ms`.
  std::set<WorkerId> missing;
  int64_t grace_until_ms = 0;
  // After the coordinator's own restart: wait for all that are missing, even where one holder is
  // back.
  bool reattaching = false;
  // Generations in a row without a committed step.
  int fruitless = 0;
  // Since when it holds workers but too few; 0: it does not.
  int64_t stuck_since_ms = 0;
};

// What only a job that has not ended needs.
struct ActiveJob {
  explicit ActiveJob(const v1::JobSpec& spec) : hyper(spec) {}

  HyperTrack hyper;
  Group group;
  // What it waits for, where it waits.
  std::string waiting;
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
  // Those that have not ended, in the order of creation.
  std::vector<JobEntry*> Active();
  void Ended(const JobEntry& entry) { active_.erase(entry.record.ordinal); }

 private:
  std::map<std::string, std::unique_ptr<JobEntry>> by_uid_;
  std::map<std::string, JobEntry*> by_name_;
  std::map<int64_t, JobEntry*> by_ordinal_;
  std::map<int64_t, JobEntry*> active_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_JOB_TABLE_H_
