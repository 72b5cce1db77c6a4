// Bounds of what a job, its data and its messages may be, each with the reason for its size. Those
// of the running service stand in service_limits.h, apart because most files that this one reaches
// take long to compile.
#ifndef EVOGRAD_COMMON_LIMITS_H_
#define EVOGRAD_COMMON_LIMITS_H_

#include <cstdint>

namespace evograd::limits {

// Worker and coordinator must agree on the meaning of every message.
inline constexpr int kProtocolVersion = 2;

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
// Checkpoints that a job asks to keep; their records lie in the coordinator's memory.
inline constexpr int kMaxKeptCheckpoints = 1000;
inline constexpr int kMaxMetricNameBytes = 64;

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

inline constexpr int kMaxEvaluationMetrics = 64;

inline constexpr int kDefaultCollectiveTimeoutSeconds = 60;
// What a crash may cost.
inline constexpr int kDefaultCheckpointIntervalSeconds = 60;
// A longer one only hides a worker that hangs.
inline constexpr int kMaxCollectiveTimeoutSeconds = 3600;

}  // namespace evograd::limits

#endif  // EVOGRAD_COMMON_LIMITS_H_
