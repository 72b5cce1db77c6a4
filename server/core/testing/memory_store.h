// The coordinator's disk for tests: applies records as the store does, and checks what no sequence
// of records may break: committed steps never decrease, a step is written once and in order, event
// sequences have no gaps, an ended job stays as it is. A violation ends up in `violations`.
#ifndef EVOGRAD_SERVER_CORE_TESTING_MEMORY_STORE_H_
#define EVOGRAD_SERVER_CORE_TESTING_MEMORY_STORE_H_

#include <map>
#include <string>
#include <vector>

#include "server/core/records.h"

namespace evograd::testing {

class MemoryStore : public StepLog {
 public:
  void Write(const std::vector<Record>& records);
  // What a coordinator that starts now reads.
  Snapshot Read();

  absl::StatusOr<uint64_t> Checksum(const std::string& job_uid, int64_t step) const override;

  const v1::Job* FindJob(const std::string& name) const;
  const std::map<std::string, JobRecord>& jobs() const { return jobs_; }
  const std::vector<uint64_t>& steps(const std::string& uid) { return steps_[uid]; }
  const std::vector<v1::Event>& events(const std::string& uid) { return events_[uid]; }
  const std::map<int64_t, v1::Checkpoint>& checkpoints(const std::string& uid) {
    return checkpoints_[uid];
  }
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void Apply(const JobRecord& record);
  void Apply(const RequestRecord& record);
  void Apply(const HyperRecord& record);
  void Apply(const StepRecord& record);
  void Apply(const EventRecord& record);
  void Apply(const CheckpointRecord& record);
  void Apply(const CheckpointRemoval& removal);
  // What must hold after each transaction.
  void CheckConsistent();
  void Violation(const std::string& what) { violations_.push_back(what); }

  int64_t starts_ = 0;
  std::map<std::string, JobRecord> jobs_;
  std::map<std::string, RequestRecord> requests_;
  std::map<std::string, std::string> hyper_;
  std::map<std::string, std::vector<uint64_t>> steps_;
  std::map<std::string, std::vector<v1::Event>> events_;
  std::map<std::string, std::map<int64_t, v1::Checkpoint>> checkpoints_;
  std::vector<std::string> violations_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_CORE_TESTING_MEMORY_STORE_H_
