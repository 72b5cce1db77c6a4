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
// What callers are asked to wait after an error that passes by itself: for what takes a moment (a
// coordinator that starts again, an inbox that is worked off), and for what others hold and have to
// give back (a transfer, a watch, room on the disk).
inline constexpr int kRetrySoonMs = 1000;
inline constexpr int kRetryRoomMs = 5000;
// However long they are asked to.
inline constexpr int kMaxRetryDelayMs = 60'000;
// A silent connection is pinged this often.
inline constexpr int kKeepaliveIntervalMs = 10'000;
// A worker's longer message goes in parts: at 400 kbit/s a heartbeat waits 1.3 s behind one.
inline constexpr int kMessagePartBytes = 64 << 10;
// Parts of messages whose last part has not come, of all workers together.
inline constexpr int64_t kMaxPartialMessageBytes = int64_t{512} << 20;
// kMaxCheckpointBytes at 5 MB/s.
inline constexpr int kTransferTimeoutMs = 3'600'000;
// A worker that was told to end and did not is ended by the kernel.
inline constexpr int kWorkerExitSeconds = 10;
// A peer may still be reading its data when the others are ready, or evaluating while they wait;
// who stands still is found by the coordinator's watch, and these end only what it cannot see.
inline constexpr int kRendezvousTimeoutMs = 3'600'000;
inline constexpr int kCollectiveCeilingMs = 86'400'000;
// Who dials a rank's port shows within this time that it is one of the group; a rank that is held
// up for longer dials again.
inline constexpr int kRankHandshakeTimeoutMs = 10'000;
// Connections to a rank's port, beside those of its group, that may be in doubt at once; beyond it
// the oldest is closed.
inline constexpr int kMaxStrangers = 64;

// A member looks at its cancel flag at least once a step; one that has not left its generation (or
// dropped its job) after this long counts as lost.
inline constexpr int kLeaveTimeoutMs = 30'000;
// Workers come in groups: a running generation is grown once, when none has come for this long.
inline constexpr int kGrowthDelayMs = 1000;
// Two groups that each hold some of the workers which the other needs: after this long the younger
// one gives its workers up and goes on from a checkpoint.
inline constexpr int kStuckGroupMs = 30'000;
// Generations in a row without one committed step; then the job fails rather than try for ever. The
// time before each doubles: the twenty span about a quarter of an hour.
inline constexpr int kMaxFruitlessGenerations = 20;
inline constexpr int kRetryMinMs = 500;
inline constexpr int kRetryMaxMs = 60'000;
// Workers that have computed together and cannot reach each other any more try so often before one
// is left out.
inline constexpr int kFruitlessBeforeBlame = 4;
// A worker of which something failed is not used for a while: long enough that others are tried
// first, short enough that what was mended is noticed.
inline constexpr int kSetAsideMinMs = 10'000;
inline constexpr int kSetAsideMaxMs = 600'000;
// What it did is remembered for so long: what fails after an hour of reading fails again.
inline constexpr int64_t kSetAsideMemoryMs = 86'400'000;
// A member that is lost before its group has made a step: once may be an accident of any process.
inline constexpr int kLossesBeforeBlame = 2;
// So many workers that fail alike at a job without progress are several: it is the job's fault.
inline constexpr int kSeveralWorkers = 3;
// Failures of workers at a job, whoever they are, without a new step.
inline constexpr int kMaxFailuresWithoutProgress = 6;
// A newcomer that waits for others to have read their data joins alone after this long.
inline constexpr int kPreparedPatienceMs = 10'000;
// No data is read so slowly that nothing moves for so long.
inline constexpr int kPrepareStillMs = 300'000;
// An engine that uses processor time but is at one step for so long, and so many times as long as
// any of its job's recent steps, does not get on: no load makes a healthy one so slow.
inline constexpr int kEndlessStepMs = 600'000;
inline constexpr int kEndlessStepFactor = 100;
// A job without a new step for so long says so.
inline constexpr int kSilentStepMs = 10'000;
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
// What an engine does, in a few words: a heartbeat is kept for each worker.
inline constexpr int kMaxDoingBytes = 256;
// A trouble that goes on makes an event of its job this often; its text is always the newest.
inline constexpr int kTroubleNoticeIntervalMs = 600'000;
inline constexpr int kMaxEvaluationWarnings = 16;
// The message of a job's error, with the last lines of a log.
inline constexpr int kMaxJobErrorBytes = 16 << 10;
// Events and pages of lists stay well below kMaxMessageBytes.
inline constexpr int kMaxEventBytes = 1 << 20;
inline constexpr int kMaxPageBytes = 2 << 20;
inline constexpr int kKeptCheckpoints = 2;
// Checkpoints by time take at most one part in so many of it.
inline constexpr int kCheckpointCostRatio = 20;
// A backup or a person with a shell may hold the store's lock for a while; workers go on meanwhile.
inline constexpr int kStoreBusyMs = 60'000;
// What a full disk leaves to the store for a start: its log is folded in at 4 MB, and one step's
// hyperparameters are at most some 14 MB.
inline constexpr int64_t kStoreReserveBytes = int64_t{16} << 20;
// Uploads are refused below it: hours of steps, while somebody makes room.
inline constexpr int64_t kDiskFloorBytes = int64_t{64} << 20;
// Transfers of checkpoints that run at once; each holds a file and a thread. Users' downloads have
// slots of their own, so that they keep no worker from its checkpoint.
inline constexpr int kMaxUploads = 16;
inline constexpr int kMaxRestores = 16;
inline constexpr int kMaxUserDownloads = 8;
// Of one job: its present rank 0, and one whose stream broke unnoticed.
inline constexpr int kMaxRestoresPerJob = 2;
// Of one host: users of others find a slot.
inline constexpr int kMaxUserDownloadsPerHost = 4;
// Workers' transfers that wait for a slot, which costs no thread.
inline constexpr int kMaxWaitingTransfers = 4096;
// The bytes of one message of a transfer, in time for kPeerStallMs on any network.
inline constexpr int kTransferChunkBytes = 64 << 10;
// A peer whose turn it is (to send, to read) and who moves nothing for so long is cut off.
inline constexpr int kPeerStallMs = 30'000;
// A worker waits for a busy or absent coordinator this long with a restore, which leaves the other
// ranks time within kRendezvousTimeoutMs.
inline constexpr int kRestorePatienceMs = 120'000;
// Trouble with an upload is told to the coordinator at most this often.
inline constexpr int kTroubleIntervalMs = 10'000;
// gRPC's own, for health checks and reflection.
inline constexpr int kMaxServerThreads = 64;
// What waits to be sent to one worker; a worker that reads nothing for so long is cut off. A group
// of kMaxWorkersPerJob may exchange a few addresses each before a member reads.
inline constexpr int kMaxOutgoingMessages = 8192;
inline constexpr int kWatchKeepaliveMs = 15'000;
// gRPC's buffers for all connections together.
inline constexpr int64_t kServerMemoryBytes = int64_t{1} << 30;

// Clients ping a silent coordinator; it accepts pings from any peer three times as often before it
// takes them for abuse. A peer that does not answer a ping for kKeepaliveTimeoutMs is gone: pings
// queue behind what is being sent, up to 3 MB of a socket's buffer at 400 kbit/s. A worker that is
// lost is noticed sooner, by kHeartbeatTimeoutMs.
inline constexpr int kClientKeepaliveMs = 30'000;
inline constexpr int kMinPingIntervalMs = 10'000;
inline constexpr int kKeepaliveTimeoutMs = 60'000;
// Open at once at the coordinator, whatever the process may open: some 50 kB each.
inline constexpr int kMaxConnections = 16'384;
// Files of the process that connections leave alone: the store, and one for each transfer.
inline constexpr int kReservedFiles = 256;
// A connection without a call; clients connect anew with their next one.
inline constexpr int kIdleConnectionMs = 600'000;
// A new connection that does not speak HTTP/2.
inline constexpr int kHandshakeTimeoutMs = 20'000;
// A download in which nothing comes for so long is given up: a disk that has to spin up takes less.
inline constexpr int kClientTransferIdleMs = 60'000;

// Times `evograd run` and `up` start one of their programs again within an hour: more is a defect,
// not an accident. With the waits below the last ones are a minute apart, so a disk that is full
// for twenty minutes is outlived.
inline constexpr int kMaxLocalRestartsPerHour = 30;
inline constexpr int kLocalRestartDelayMinMs = 100;
inline constexpr int kLocalRestartDelayMaxMs = 60'000;
// A program that ran for so long had started well, on a slow machine too: its waits begin anew, and
// where it then ends by itself it is worth another start.
inline constexpr int kLocalSettledMs = 30'000;
// Processes on one machine.
inline constexpr int kMaxLocalWorkers = 256;

// The loop's inbox: past it, callers are told RESOURCE_EXHAUSTED.
inline constexpr int kMaxLoopInbox = 10'000;
inline constexpr int64_t kMaxLoopInboxBytes = int64_t{512} << 20;
// Inputs that share one transaction, and the time after which no more are taken into it: who was
// taken first is not kept waiting for its answer.
inline constexpr int kMaxLoopBatch = 256;
inline constexpr int kMaxLoopBatchMs = 50;
// Events per WatchJobResponse; a job of many steps is read in pages.
inline constexpr int kMaxEventsPerMessage = 256;
inline constexpr int kMaxWatchers = 1000;
// Of one connection and of one host, so that no program takes all.
inline constexpr int kMaxWatchersPerConnection = 100;
inline constexpr int kMaxWatchersPerHost = 500;
// A page of events that waits for a slow reader is kept in memory twice: 256 MiB for kMaxWatchers.
inline constexpr int kWatchPageBytes = 128 << 10;
inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;

}  // namespace evograd::limits

#endif  // EVOGRAD_COMMON_SERVICE_LIMITS_H_
