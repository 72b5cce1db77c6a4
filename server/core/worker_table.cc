#include "server/core/worker_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/core/timestamp.h"

namespace evograd {

WorkerEntry* WorkerTable::Find(ConnectionId connection) {
  const auto found = by_connection_.find(connection);
  return found == by_connection_.end() ? nullptr : Find(found->second);
}

WorkerEntry* WorkerTable::Find(const WorkerId& id) {
  const auto found = workers_.find(id);
  return found == workers_.end() ? nullptr : &found->second;
}

WorkerEntry* WorkerTable::Add(WorkerEntry entry) {
  const WorkerId id = entry.id;
  EVOGRAD_CHECK(by_connection_.emplace(entry.connection, id).second, "a connection has one worker");
  const auto [where, added] = workers_.emplace(id, std::move(entry));
  EVOGRAD_CHECK(added, "a worker id is connected once");
  return &where->second;
}

void WorkerTable::Remove(const WorkerId& id) {
  const auto found = workers_.find(id);
  EVOGRAD_CHECK(found != workers_.end(), "only a connected worker is removed");
  by_connection_.erase(found->second.connection);
  workers_.erase(found);
}

std::vector<WorkerEntry*> WorkerTable::AssignedTo(const std::string& job_uid) {
  std::vector<WorkerEntry*> assigned;
  for (auto& [id, worker] : workers_) {
    if (worker.job_uid == job_uid) assigned.push_back(&worker);
  }
  return assigned;
}

namespace {

v1::WorkerState StateOf(WorkerPhase phase) {
  switch (phase) {
    case WorkerPhase::kFree:
      return v1::FREE;
    case WorkerPhase::kReleasing:
      return v1::BUSY;
    case WorkerPhase::kPreparing:
    case WorkerPhase::kPrepared:
      return v1::PREPARING;
    case WorkerPhase::kMember:
    case WorkerPhase::kLeaving:
    case WorkerPhase::kHolding:
      break;
  }
  return v1::ASSIGNED;
}

}  // namespace

v1::Worker ToProto(const WorkerEntry& entry, int64_t now_ms) {
  v1::Worker worker;
  worker.set_name(WorkerName(entry.id));
  worker.set_state(StateOf(entry.phase));
  const int64_t seconds = (now_ms - entry.since_ms) / 1000;
  if (entry.phase == WorkerPhase::kReleasing && seconds > 0) {
    worker.set_reason(absl::StrCat("was told to drop ", entry.job_name, " ", seconds,
                                   " s ago and has not done so"));
  } else if (!entry.doing.doing().empty()) {
    worker.set_reason(absl::StrCat(entry.doing.doing(),
                                   entry.doing.waiting() ? ", waiting for others for " : " for ",
                                   static_cast<int64_t>(entry.doing.doing_seconds()), " s"));
  }
  worker.set_numerics(entry.hello.numerics());
  worker.set_device_kind(entry.hello.device_kind());
  worker.set_device_name(entry.hello.device_name());
  worker.set_host(entry.hello.host());
  worker.set_process_id(entry.hello.process_id());
  worker.set_job(entry.job_name);
  *worker.mutable_connect_time() = Timestamp(entry.connect_unix_ms);
  *worker.mutable_last_heartbeat_time() = Timestamp(entry.last_heard_unix_ms);
  return worker;
}

std::string WorkerName(const WorkerId& id) { return absl::StrCat("workers/", id.value()); }

}  // namespace evograd
