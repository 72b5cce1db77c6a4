// Every bound of the system, each with the reason for its size.
#ifndef EVOGRAD_COMMON_LIMITS_H_
#define EVOGRAD_COMMON_LIMITS_H_

#include <cstdint>

namespace evograd::limits {

// Worker and coordinator must agree on the meaning of every message.
inline constexpr int kProtocolVersion = 1;

// gRPC's own default for received messages; larger things (checkpoints) travel in chunks.
inline constexpr int kMaxMessageBytes = 4 << 20;
// What a worker sends: the hypergradient of a learned transformation has 600,000 numbers.
inline constexpr int kMaxWorkerMessageBytes = 32 << 20;
inline constexpr int kCheckpointChunkBytes = 1 << 20;
// A checkpoint of 16 GiB holds a billion float32 parameters with Adam's two slots.
inline constexpr int64_t kMaxCheckpointBytes = int64_t{16} << 30;

// The noise counter has 32 bits for each.
inline constexpr int64_t kMaxSteps = int64_t{1} << 31;
inline constexpr int kMaxPopulation = 4096;
// Each is a second-order pass; more only polish what the batch's noise drowns.
inline constexpr int kMaxIterations = 1000;
// Milestones of a learning rate's schedule, written by a person.
inline constexpr int kMaxDecaySteps = 64;
// A hypergradient travels in a StepResult, 8 bytes each; step 0's also carries where they began.
// Both fit kMaxWorkerMessageBytes.
inline constexpr int64_t kMaxStreamedHyperparameters = 1'500'000;
// Beyond this nothing is gained: a shard is at least one example.
inline constexpr int kMaxVirtualWorkers = 1024;
inline constexpr int kMaxWorkersPerJob = 1024;
// Un-acknowledged results are kept by every worker and travel with its state.
inline constexpr int kMaxPipelineDepth = 256;
// Small results share a message up to this size; a larger one travels alone.
inline constexpr int kMaxResultsBytes = 1 << 20;
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
// A data set is held in the memory of every worker.
inline constexpr int64_t kMaxDatasetFileBytes = int64_t{4} << 30;
// The header of a model file: some 150 bytes for each tensor, of which large models have thousands.
inline constexpr int64_t kMaxSafetensorsHeaderBytes = 16 << 20;
inline constexpr int kMaxSafetensorsFiles = 1024;
// Tensors that an error lists of each kind: what a person reads.
inline constexpr int kMaxNamedTensors = 10;
// A model's config.json is a page; an index of shards is as large as the headers are.
inline constexpr int64_t kMaxModelConfigBytes = 1 << 20;
// Larger than any encoder that is published: the longest vocabulary has a million pieces, the
// largest XLM-R a width of 16384, 48 layers and 10.7 billion parameters, of which those that fit
// one device's float32 are read.
inline constexpr int64_t kMaxModelExtent = 1 << 22;
inline constexpr int64_t kMaxModelWidth = 1 << 16;
inline constexpr int64_t kMaxModelLayers = 1024;
inline constexpr int64_t kMaxModelParameters = int64_t{1} << 32;
// The vocabulary of XLM-R has 5 MB, of the largest multilingual models 16.
inline constexpr int64_t kMaxSentencePieceBytes = int64_t{256} << 20;
// Labels are bytes.
inline constexpr int kMaxClasses = 256;
// Of residual networks; deeper and wider ones than were ever published on small images.
inline constexpr int kMaxModelDepth = 1202;
inline constexpr int kMaxWidthFactor = 64;
// Three hyperparameters each, of the kMaxStreamedHyperparameters of a job.
inline constexpr int kMaxWeightingHiddenUnits = 10'000;
// Larger pictures are no data set for the models here.
inline constexpr int kMaxImageExtent = 4096;
// A picture of that extent, stored without compression.
inline constexpr int64_t kMaxImageFileBytes = int64_t{64} << 20;
// Half a million images with paths of 100 bytes.
inline constexpr int64_t kMaxImageListBytes = int64_t{64} << 20;
// Threads of one worker that load pictures.
inline constexpr int kMaxLoaderThreads = 64;
// Each is an output of a classifier, and a word that a person wrote.
inline constexpr int kMaxLabels = 10'000;
inline constexpr int kMaxLabelBytes = 256;
// A language is a folder's name, such as pt_BR; there are some 7,000 of them.
inline constexpr int kMaxLanguages = 1000;
inline constexpr int kMaxLanguageBytes = 64;
// More tokens than any published encoder takes, wider than any published transformation.
inline constexpr int kMaxSequenceTokens = 1 << 16;
inline constexpr int kMaxBottleneck = 1 << 16;
// What a few-shot job may ask for: well beyond what is published, and such that a step's pictures
// fit the memory of one machine. Pictures that enter a network are larger nowhere.
inline constexpr int kMaxModelImageExtent = 512;
inline constexpr int kMaxEpisodeWays = 200;
inline constexpr int kMaxEpisodeImagesPerClass = 1000;
inline constexpr int kMaxEpisodesPerStep = 1024;
inline constexpr int kMaxEvaluationEpisodes = 1'000'000;
// Two metrics of each fit kMaxEvaluationMetrics.
inline constexpr int kMaxDomains = 16;
inline constexpr int kMaxDomainNameBytes = 40;
// Pictures kept ready for the steps ahead: at least the next one's of any published setting.
inline constexpr int64_t kMaxPrefetchBytes = int64_t{1} << 30;
// 1 TiB: a large machine's memory.
inline constexpr int kMaxImageCacheMib = 1 << 20;
// Feature maps of an evaluation; its episodes are cut into groups whose pictures' maps fit.
inline constexpr int64_t kMaxEvaluationFeatureBytes = int64_t{512} << 20;
inline constexpr int kMaxRendezvousKeyBytes = 256;
inline constexpr int kMaxRendezvousValueBytes = 64 << 10;
// A few addresses for each of kMaxWorkersPerJob.
inline constexpr int kMaxRendezvousEntries = 8192;

// What a person can tell apart on one line.
inline constexpr int kMaxShownHyperparameters = 8;

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
inline constexpr int kDefaultCollectiveTimeoutSeconds = 60;
// A longer one only hides a worker that hangs.
inline constexpr int kMaxCollectiveTimeoutSeconds = 3600;

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
inline constexpr int kMaxEvaluationMetrics = 64;
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

#endif  // EVOGRAD_COMMON_LIMITS_H_
