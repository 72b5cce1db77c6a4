// What comes into the coordinator's machine, and what comes out.
#ifndef EVOGRAD_SERVER_CORE_INPUTS_H_
#define EVOGRAD_SERVER_CORE_INPUTS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/job_service.pb.h"
#include "proto/evograd/v1/worker.pb.h"
#include "server/core/records.h"

namespace evograd {

// The time comes in with each input: deadlines by the first, which never jumps; what users read by
// the second.
struct Now {
  int64_t monotonic_ms = 0;
  int64_t unix_ms = 0;
};

// Chosen by the caller, never used twice in the life of a process.
enum class CallId : int64_t {};
enum class ConnectionId : int64_t {};

// ---- From clients and their tools; each is answered by one Reply -----------------------------

struct CreateJobInput {
  CallId call;
  v1::CreateJobRequest request;
  // Random, for the job that may come of it; the id counts where the request names none.
  std::string fresh_uid;
  std::string fresh_job_id;
};

template <typename Request>
struct CallInput {
  CallId call;
  Request request;
};

using GetJobInput = CallInput<v1::GetJobRequest>;
using ListJobsInput = CallInput<v1::ListJobsRequest>;
using CancelJobInput = CallInput<v1::CancelJobRequest>;
using ListWorkersInput = CallInput<v1::ListWorkersRequest>;
using ListCheckpointsInput = CallInput<v1::ListCheckpointsRequest>;
using FindCheckpointInput = CallInput<v1::DownloadCheckpointRequest>;

// ---- Checkpoints: their bytes go past the machine --------------------------------------------

// May this upload begin? `header` without a chunk.
using BeginUploadInput = CallInput<v1::UploadCheckpointRequest>;

// The file of `header` is durable under its name.
struct FinishUploadInput {
  CallId call;
  v1::UploadCheckpointRequest header;
};

// The file of the checkpoint is missing or does not have its hash. NOT_FOUND: it is no longer
// recorded.
struct DamagedCheckpointInput {
  CallId call;
  std::string job_uid;
  v1::Checkpoint checkpoint;
};

// ---- From workers ----------------------------------------------------------------------------

struct ConnectedInput {
  ConnectionId connection;
  v1::Hello hello;
};

struct WorkerInput {
  ConnectionId connection;
  v1::WorkerMessage message;
};

struct DisconnectedInput {
  ConnectionId connection;
  std::string reason;
};

// Comes at least every limits::kTickIntervalMs; deadlines are looked at then.
struct TickInput {};

using Input =
    std::variant<CreateJobInput, GetJobInput, ListJobsInput, CancelJobInput, ListWorkersInput,
                 ListCheckpointsInput, FindCheckpointInput, BeginUploadInput, FinishUploadInput,
                 DamagedCheckpointInput, ConnectedInput, WorkerInput, DisconnectedInput, TickInput>;

// ---- What comes out --------------------------------------------------------------------------

struct CheckpointLocation {
  std::string job_uid;
  v1::Checkpoint checkpoint;
};

struct UploadFinished {
  v1::Checkpoint checkpoint;
  // Files that nothing refers to any more.
  std::vector<CheckpointLocation> obsolete;
};

struct Done {};

using Answer = std::variant<v1::Job, v1::ListJobsResponse, v1::ListWorkersResponse,
                            v1::ListCheckpointsResponse, CheckpointLocation, UploadFinished, Done>;

struct Reply {
  CallId call;
  absl::StatusOr<Answer> answer;
};

struct Send {
  ConnectionId connection;
  v1::CoordinatorMessage message;
};

struct Close {
  ConnectionId connection;
  absl::Status status;
};

// To be carried out in this order: the records are written, all or none, and only when they are
// durable is the rest sent. A connection is closed after what was sent to it.
struct Effects {
  std::vector<Record> records;
  std::vector<Send> sends;
  std::vector<Close> closes;
  std::vector<Reply> replies;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_INPUTS_H_
