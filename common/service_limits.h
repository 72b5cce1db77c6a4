// Bounds of the running service: its timings, queues and tables, each with the reason for its size.
#ifndef EVOGRAD_COMMON_SERVICE_LIMITS_H_
#define EVOGRAD_COMMON_SERVICE_LIMITS_H_

#include <cstdint>

namespace evograd::limits {

// Heartbeats come from a thread of their own, so a long kernel does not delay them.
inline constexpr int kHeartbeatIntervalMs = 1000;
inline constexpr int kHeartbeatTimeoutMs = 5000;
// How long the coordinator waits, after all holders of a job's state are gone or after its own
// restart, for one of them to come back before it starts again from a checkpoint.
inline constexpr int kReattachGraceMs = 10'000;
// A worker dials again for ever, at first at once, then without burdening the network.
inline constexpr int kReconnectMinMs = 100;
inline constexpr int kReconnectMaxMs = 5000;
// A connection that answers no ping for so long is dead.
inline constexpr int kKeepaliveIntervalMs = 10'000;
// kMaxCheckpointBytes at 5 MB/s.
inline constexpr int kTransferTimeoutMs = 3'600'000;
// A worker that was told to end and did not is ended by the kernel.
inline constexpr int kWorkerExitSeconds = 10;
// A peer may still be reading its data when the others are ready.
inline constexpr int kRendezvousTimeoutMs = 300'000;

// A member looks at its cancel flag at least once a step; one that has not left its generation (or
// dropped its job) after this long counts as lost.
inline constexpr int kLeaveTimeoutMs = 30'000;
// Workers come in groups: a running generation is grown once, when none has come for this long.
inline constexpr int kGrowthDelayMs = 1000;
// Two groups that each hold some of the workers which the other needs: after this long the younger
// one gives its workers up and goes on from a checkpoint.
inline constexpr int kStuckGroupMs = 30'000;
// Generations in a row without one committed step; then the job fails rather than try for ever.
inline constexpr int kMaxFruitlessGenerations = 20;
// Deadlines are looked at this often.
inline constexpr int kTickIntervalMs = 250;
// The coordinator was itself stopped for a while if its ticks are further apart than this; the
// silence is then not the workers'.
inline constexpr int kStalledMs = 2000;

// What one coordinator keeps in mind: some 2 KiB for each job, ended ones included.
inline constexpr int kMaxJobs = 100'000;
// What stays in memory of the log of steps; older ones are read from disk.
inline constexpr int kMaxRecentChecksums = 65'536;
inline constexpr int kMaxConnectedWorkers = 4096;
inline constexpr int kMaxWorkerIdBytes = 63;
// Names, reasons and messages that a worker writes for people.
inline constexpr int kMaxWorkerTextBytes = 4096;
inline constexpr int kMaxEvaluationWarnings = 16;
// The message of a job's error, with the last lines of a log.
inline constexpr int kMaxJobErrorBytes = 16 << 10;
// Events and pages of lists stay well below kMaxMessageBytes.
inline constexpr int kMaxEventBytes = 1 << 20;
inline constexpr int kMaxPageBytes = 2 << 20;
inline constexpr int kKeptCheckpoints = 2;
// Each holds a file and a thread of the server.
inline constexpr int kMaxConcurrentTransfers = 16;
// gRPC's own for synchronous calls: the transfers, and a few to refuse more of them.
inline constexpr int kMaxServerThreads = 64;
// What waits to be sent to one worker; a worker that reads nothing for so long is cut off. A group
// of kMaxWorkersPerJob may exchange a few addresses each before a member reads.
inline constexpr int kMaxOutgoingMessages = 8192;
inline constexpr int kWatchKeepaliveMs = 15'000;
// gRPC's buffers for all connections together.
inline constexpr int64_t kServerMemoryBytes = int64_t{1} << 30;

// Clients ping a silent coordinator; it accepts pings from any peer three times as often before it
// takes them for abuse, and a peer that does not answer a ping for this long is gone.
inline constexpr int kClientKeepaliveMs = 30'000;
inline constexpr int kMinPingIntervalMs = 10'000;
inline constexpr int kKeepaliveTimeoutMs = 10'000;
// A download in which nothing comes for so long is given up: a disk that has to spin up takes less.
inline constexpr int kClientTransferIdleMs = 60'000;

// Times `evograd run` and `up` start killed programs again: more is a defect, not an accident.
inline constexpr int kMaxLocalRestarts = 10;
// Processes on one machine.
inline constexpr int kMaxLocalWorkers = 256;

// The loop's inbox: past it, callers are told RESOURCE_EXHAUSTED.
inline constexpr int kMaxLoopInbox = 10'000;
inline constexpr int64_t kMaxLoopInboxBytes = int64_t{512} << 20;
// Inputs that share one transaction.
inline constexpr int kMaxLoopBatch = 256;
// Events per WatchJobResponse; a job of many steps is read in pages.
inline constexpr int kMaxEventsPerMessage = 256;
inline constexpr int kMaxWatchers = 1000;
inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;

}  // namespace evograd::limits

#endif  // EVOGRAD_COMMON_SERVICE_LIMITS_H_
