#include "server/core/testing/memory_store.h"

#include <variant>

#include "absl/strings/str_cat.h"
#include "server/core/job_state.h"

namespace evograd::testing {

void MemoryStore::Write(const std::vector<Record>& records) {
  for (const Record& record : records) {
    std::visit([this](const auto& one) { Apply(one); }, record);
  }
  CheckConsistent();
}

void MemoryStore::Apply(const JobRecord& record) {
  const std::string& uid = record.job.uid();
  const auto old = jobs_.find(uid);
  if (old != jobs_.end()) {
    const v1::Job& before = old->second.job;
    if (record.job.committed_steps() < before.committed_steps()) {
      Violation("committed steps decrease: " + uid);
    }
    if (record.job.generation() < before.generation()) Violation("generation decreases: " + uid);
    if (IsEnded(before.state()) && record.job.state() != before.state()) {
      Violation("an ended job changed its state: " + uid);
    }
  }
  jobs_[uid] = record;
}

void MemoryStore::Apply(const RequestRecord& record) {
  if (!requests_.emplace(record.request_id, record).second)
    Violation("a request id is written twice");
}

void MemoryStore::Apply(const HyperRecord& record) { hyper_[record.job_uid] = record.encoded; }

void MemoryStore::Apply(const StepRecord& record) {
  std::vector<uint64_t>& steps = steps_[record.job_uid];
  if (record.step != static_cast<int64_t>(steps.size())) {
    Violation(absl::StrCat("step ", record.step, " is written after ", steps.size(), " steps"));
    return;
  }
  steps.push_back(record.checksum);
}

void MemoryStore::Apply(const EventRecord& record) {
  std::vector<v1::Event>& events = events_[record.job_uid];
  if (record.event.sequence() != static_cast<int64_t>(events.size()) + 1) {
    Violation(
        absl::StrCat("event ", record.event.sequence(), " follows ", events.size(), " events"));
  }
  events.push_back(record.event);
}

void MemoryStore::Apply(const CheckpointRecord& record) {
  checkpoints_[record.job_uid][record.checkpoint.step()] = record.checkpoint;
}

void MemoryStore::Apply(const CheckpointRemoval& removal) {
  checkpoints_[removal.job_uid].erase(removal.step);
}

void MemoryStore::CheckConsistent() {
  for (const auto& [uid, record] : jobs_) {
    const size_t logged = steps_[uid].size();
    if (static_cast<int64_t>(logged) != record.job.committed_steps()) {
      Violation(absl::StrCat(uid, " has ", record.job.committed_steps(), " committed steps, ",
                             logged, " in the log"));
    }
    if (record.job.reason().empty()) Violation(absl::StrCat(uid, " has no reason for its state"));
  }
}

Snapshot MemoryStore::Read() {
  Snapshot snapshot;
  snapshot.incarnation = ++starts_;
  for (const auto& [uid, record] : jobs_) snapshot.jobs.push_back(record);
  for (const auto& [id, record] : requests_) snapshot.requests.push_back(record);
  for (const auto& [uid, by_step] : checkpoints_) {
    for (const auto& [step, checkpoint] : by_step)
      snapshot.checkpoints.push_back({uid, checkpoint});
  }
  snapshot.hyper_states = hyper_;
  for (const auto& [uid, events] : events_)
    snapshot.last_events[uid] = static_cast<int64_t>(events.size());
  return snapshot;
}

absl::StatusOr<uint64_t> MemoryStore::Checksum(const std::string& job_uid, int64_t step) const {
  const auto steps = steps_.find(job_uid);
  if (steps == steps_.end() || step < 0 || step >= static_cast<int64_t>(steps->second.size())) {
    return absl::NotFoundError("no such step");
  }
  return steps->second[static_cast<size_t>(step)];
}

const v1::Job* MemoryStore::FindJob(const std::string& name) const {
  for (const auto& [uid, record] : jobs_) {
    if (record.job.name() == name) return &record.job;
  }
  return nullptr;
}

}  // namespace evograd::testing
