// What the coordinator keeps on disk, as plain values: the machine asks for them to be written, the
// store writes them and gives them back at the next start. Each record replaces the one of the same
// key.
#ifndef EVOGRAD_SERVER_CORE_RECORDS_H_
#define EVOGRAD_SERVER_CORE_RECORDS_H_

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/event.pb.h"
#include "proto/evograd/v1/job.pb.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

// Key: job.uid. Names are unique.
struct JobRecord {
  // 1, 2, 3, … in the order of creation.
  int64_t ordinal = 0;
  // The kind of device that the committed steps were computed on; unspecified before the first.
  v1::DeviceKind device_kind = v1::DEVICE_KIND_UNSPECIFIED;
  v1::Job job;
};

// Key: request_id.
struct RequestRecord {
  std::string request_id;
  // SHA-256 of what was asked for, so that the same id with another request is noticed.
  std::string digest;
  std::string job_uid;
};

// Key: job_uid. The hyperparameter state after job.committed_steps steps (algo/advance.h).
struct HyperRecord {
  std::string job_uid;
  std::string encoded;
};

// Key: (job_uid, step).
struct StepRecord {
  std::string job_uid;
  int64_t step = 0;
  uint64_t checksum = 0;
};

// Key: (job_uid, event.sequence).
struct EventRecord {
  std::string job_uid;
  v1::Event event;
};

// Key: (job_uid, checkpoint.step).
struct CheckpointRecord {
  std::string job_uid;
  v1::Checkpoint checkpoint;
};

struct CheckpointRemoval {
  std::string job_uid;
  int64_t step = 0;
};

using Record = std::variant<JobRecord, RequestRecord, HyperRecord, StepRecord, EventRecord,
                            CheckpointRecord, CheckpointRemoval>;

// Everything that a new machine starts from.
struct Snapshot {
  // A new number at every start.
  int64_t incarnation = 1;
  std::vector<JobRecord> jobs;
  std::vector<RequestRecord> requests;
  std::vector<CheckpointRecord> checkpoints;
  // By job uid: of jobs that have not ended.
  std::map<std::string, std::string> hyper_states;
  std::map<std::string, int64_t> last_events;
};

// The machine's own earlier step records: too many to be kept in memory.
class StepLog {
 public:
  virtual ~StepLog() = default;
  // NOT_FOUND where the step was never committed.
  virtual absl::StatusOr<uint64_t> Checksum(const std::string& job_uid, int64_t step) const = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_RECORDS_H_
