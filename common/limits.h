// Every bound of the system, each with the reason for its size.
#ifndef EVOGRAD_COMMON_LIMITS_H_
#define EVOGRAD_COMMON_LIMITS_H_

#include <cstdint>

namespace evograd::limits {

// Worker and coordinator must agree on the meaning of every message.
inline constexpr int kProtocolVersion = 1;

// gRPC's own default for received messages; larger things (checkpoints) travel in chunks.
inline constexpr int kMaxMessageBytes = 4 << 20;
inline constexpr int kCheckpointChunkBytes = 1 << 20;
// A checkpoint of 16 GiB holds a billion float32 parameters with Adam's two slots.
inline constexpr int64_t kMaxCheckpointBytes = int64_t{16} << 30;

// The noise counter has 32 bits for each.
inline constexpr int64_t kMaxSteps = int64_t{1} << 31;
inline constexpr int kMaxPopulation = 4096;
// Hypergradients travel in a StepResult: 8 bytes each, within kMaxMessageBytes.
inline constexpr int64_t kMaxStreamedHyperparameters = 400'000;
// Beyond this nothing is gained: a shard is at least one example.
inline constexpr int kMaxVirtualWorkers = 1024;
inline constexpr int kMaxWorkersPerJob = 1024;
// Un-acknowledged results are kept by every worker and travel with its state.
inline constexpr int kMaxPipelineDepth = 256;
inline constexpr int kMaxThreads = 256;

// A job file is written by a person.
inline constexpr int64_t kMaxJobFileBytes = 1 << 20;
inline constexpr int kMaxDisplayNameBytes = 256;
// Deeper or longer ones are no job: a JobSpec nests three deep and has some fifty fields.
inline constexpr int kMaxJobFileDepth = 16;
inline constexpr int kMaxJobFileNodes = 10'000;
// What a person mends at one go.
inline constexpr int kMaxJobFileErrors = 20;
// A job's name is a DNS label (https://google.aip.dev/133).
inline constexpr int kMinJobIdBytes = 4;
inline constexpr int kMaxJobIdBytes = 63;
// Linux's PATH_MAX.
inline constexpr int kMaxPathBytes = 4096;
// An idx file counts in 32 bits; a batch lies in memory whole.
inline constexpr int64_t kMaxExamples = 1'000'000'000;
inline constexpr int64_t kMaxBatchSize = 1 << 20;
inline constexpr int kMaxRendezvousKeyBytes = 256;
inline constexpr int kMaxRendezvousValueBytes = 64 << 10;

// What a person can tell apart on one line.
inline constexpr int kMaxShownHyperparameters = 8;

// Heartbeats come from a thread of their own, so a long kernel does not delay them.
inline constexpr int kHeartbeatIntervalMs = 1000;
inline constexpr int kHeartbeatTimeoutMs = 5000;
// How long the coordinator waits, after all holders of a job's state are gone or after its own
// restart, for one of them to come back before it starts again from a checkpoint.
inline constexpr int kReattachGraceMs = 10'000;
// A peer may still be reading its data when the others are ready.
inline constexpr int kRendezvousTimeoutMs = 300'000;
inline constexpr int kDefaultCollectiveTimeoutSeconds = 60;
// A longer one only hides a worker that hangs.
inline constexpr int kMaxCollectiveTimeoutSeconds = 3600;

// The loop's inbox: past it, callers are told RESOURCE_EXHAUSTED.
inline constexpr int kMaxLoopInbox = 10'000;
// Inputs that share one transaction.
inline constexpr int kMaxLoopBatch = 256;
// Events per WatchJobResponse; a job of many steps is read in pages.
inline constexpr int kMaxEventsPerMessage = 256;
inline constexpr int kMaxWatchers = 1000;
inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;

}  // namespace evograd::limits

#endif  // EVOGRAD_COMMON_LIMITS_H_
