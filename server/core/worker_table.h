// The connected workers. A worker is in one phase:
//
//   kFree       holds nothing; may be placed.
//   kMember     of its job's current generation.
//   kLeaving    was told that the generation ended and has not answered yet.
//   kHolding    between generations of its job; `held` says what it holds.
//   kReleasing  was told to drop its job and has not answered yet.
//   kPreparing  was told to read the data of a job that others compute.
//   kPrepared   has done so, and joins at the next generation.
//
// Plain state: all rules are in the machine. One thread.
#ifndef EVOGRAD_SERVER_CORE_WORKER_TABLE_H_
#define EVOGRAD_SERVER_CORE_WORKER_TABLE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/ids.h"
#include "proto/evograd/v1/worker.pb.h"
#include "server/core/inputs.h"

namespace evograd {

enum class WorkerPhase { kFree, kMember, kLeaving, kHolding, kReleasing, kPreparing, kPrepared };

struct WorkerEntry {
  WorkerId id;
  ConnectionId connection{};
  // Without what it held.
  v1::Hello hello;
  WorkerPhase phase = WorkerPhase::kFree;
  // The job it is assigned to; empty while it is free or releases a job.
  std::string job_uid;
  // The job it is assigned to or releases.
  std::string job_name;
  // The generation it is in or was asked to leave, while it is kMember or kLeaving.
  int64_t generation = 0;
  // Meaningful while it is kHolding.
  bool has_state = false;
  int64_t phases = 0;
  // When it entered its phase.
  int64_t since_ms = 0;
  // What its engine did at its last heartbeat.
  v1::Heartbeat doing;
  // For how long heartbeats that came without a gap have shown it at one stretch of that, without a
  // wait for others: what was paused, with its whole machine perhaps, was not busy.
  int64_t busy_ms = 0;
  int64_t last_beat_ms = 0;
  int64_t last_heard_ms = 0;
  int64_t last_heard_unix_ms = 0;
  int64_t connect_unix_ms = 0;

  bool assigned() const { return !job_uid.empty(); }
  // Not of the job's group yet.
  bool newcomer() const {
    return phase == WorkerPhase::kPreparing || phase == WorkerPhase::kPrepared;
  }
};

class WorkerTable {
 public:
  // Null where there is none.
  WorkerEntry* Find(ConnectionId connection);
  WorkerEntry* Find(const WorkerId& id);
  const WorkerEntry* Find(const WorkerId& id) const {
    const auto found = workers_.find(id);
    return found == workers_.end() ? nullptr : &found->second;
  }

  // Neither id nor connection is in the table.
  WorkerEntry* Add(WorkerEntry entry);
  void Remove(const WorkerId& id);

  // Of one job, sorted by id.
  std::vector<WorkerEntry*> AssignedTo(const std::string& job_uid);
  // By id.
  std::map<WorkerId, WorkerEntry>& all() { return workers_; }
  const std::map<WorkerId, WorkerEntry>& all() const { return workers_; }

 private:
  std::map<WorkerId, WorkerEntry> workers_;
  std::map<ConnectionId, WorkerId> by_connection_;
};

// As users see it at `now_ms`; without what keeps it from being used.
v1::Worker ToProto(const WorkerEntry& entry, int64_t now_ms);

// The resource name `workers/{id}`.
std::string WorkerName(const WorkerId& id);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_WORKER_TABLE_H_
