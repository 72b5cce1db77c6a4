// What the command says about jobs, from what the API says about them. Pure functions.
#ifndef EVOGRAD_CLIENT_CLI_REPORT_H_
#define EVOGRAD_CLIENT_CLI_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/evograd/v1/event.pb.h"
#include "proto/evograd/v1/job.pb.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

// "rotation" of "jobs/rotation".
std::string ShortName(const std::string& resource_name);
// "x-800.safetensors": what the file of a checkpoint is called where nobody names it.
std::string CheckpointFileName(const std::string& job, int64_t step);
// A file's way to write it: "evograd-antithetic".
std::string EstimatorName(const v1::Estimator& estimator);

// "angle 27.0 deg", one per hyperparameter that fits a line; empty where none does.
std::string FormatHyperparameters(const v1::Job& job, const v1::StepMetrics& step);
// "accuracy_rotated 87.1 %, angle_degrees 28.9 (true angle 30)".
std::string FormatEvaluation(const v1::Evaluation& evaluation);
// "train 0.52" and "validation 0.61", the latter where the job has one.
std::vector<std::string> FormatLosses(const v1::Job& job, const v1::StepMetrics& step);
// The share of log(K) that the fitness weights' entropy has, "98 %"; empty where the estimator has
// no weights.
std::string FormatEntropy(const v1::Job& job, const v1::StepMetrics& step);

// What is known of a job's times beside what it says itself.
struct KnownTimes {
  // When the last step was seen.
  absl::Time last_step = absl::InfiniteFuture();
  // Since when the coordinator serves: what a job that was resumed waited before, nobody kept it
  // waiting.
  absl::Time served_since = absl::InfinitePast();
};

// What a job is about at present: its reason, and where one that waits or computes has not moved
// for a while, for how long: "waits for 95s: needs 2 workers", "no step for 95s: computing on 2
// workers; w1 is at `step 12`".
std::string PresentReason(const v1::Job& job, absl::Time now, const KnownTimes& known = {});
// Whether that names a time.
bool StandsStill(const v1::Job& job, absl::Time now, const KnownTimes& known = {});

// The end of a job: state, times, hyperparameters, final metrics, hashes. `state` is the state as
// it is to be shown. Of a job that was resumed at `served_since` the time is that from there on.
std::string JobReport(const v1::Job& job, const std::string& state,
                      absl::Time served_since = absl::InfinitePast());
// Several ended jobs side by side, a row each; "> 62.5 s" is what a resumed one took from there on.
std::string ComparisonTable(const std::vector<v1::Job>& jobs,
                            absl::Time served_since = absl::InfinitePast());
// What became of steps: the record's events, oldest first, from anywhere on; a line for each time
// that a job went back. Empty where it never did.
std::vector<std::string> StepsBack(const std::vector<v1::Event>& events, absl::Time now);
// A sentence where the job's best evaluation by its `keep_checkpoints` has no checkpoint (it could
// not be stored, or was damaged), and on which one counts instead; empty where it has. `events`:
// all evaluations of the job's record; `best`: the checkpoint that is marked so, null: none is.
std::string UnstoredBest(const v1::KeepCheckpoints& keep, const std::vector<v1::Event>& events,
                         const v1::Checkpoint* best);
// A job in full, its spec as a job file last.
std::string JobDescription(const v1::Job& job, const std::vector<v1::Checkpoint>& checkpoints,
                           const std::vector<std::string>& steps_back, const std::string& state,
                           absl::Time now, const KnownTimes& known = {});

std::string JobsTable(const std::vector<v1::Job>& jobs, absl::Time now,
                      const KnownTimes& known = {});
std::string WorkersTable(const std::vector<v1::Worker>& workers, absl::Time now);
std::string CheckpointsTable(const std::vector<v1::Checkpoint>& checkpoints, absl::Time now);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_REPORT_H_
