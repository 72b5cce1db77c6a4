// What the benchmarks of meta-steps share: a job from a file, and engines of it that differ in
// their estimator.
#ifndef EVOGRAD_BENCH_BENCH_JOB_H_
#define EVOGRAD_BENCH_BENCH_JOB_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/engine/training_engine.h"

namespace evograd {

// A name for a line of output and a JobSpec's `estimator` as text.
struct EstimatorCase {
  std::string name;
  std::string text;
};

// `--name=value` of a command line.
struct BenchArguments {
  std::string job;       // a job file
  std::string override;  // a JobSpec as text, merged into the file's
  std::string plain;     // the same, for plain training alone
  std::string device = "cpu";
  std::string cases;  // names with ';' between them; empty: all
  int steps = 0;
  int warm_up = 0;  // steps before those, not measured
};

// Exits with a usage where the command line is wrong. `defaults` holds what is not given.
BenchArguments ParseBenchArguments(int argc, char** argv, const BenchArguments& defaults);

// Of `all` the first `always`, which the others are compared with, and those that are asked for.
// INVALID_ARGUMENT: a name that is none of them.
absl::StatusOr<std::vector<EstimatorCase>> ChosenCases(const BenchArguments& arguments,
                                                       absl::Span<const EstimatorCase> all,
                                                       size_t always);

// The file's job with the override. INVALID_ARGUMENT says what is wrong.
absl::StatusOr<v1::JobSpec> ReadBenchJob(const BenchArguments& arguments);

// An engine of the job, with another estimator, in its initial state. The settings that the job's
// own estimator has beside its kind (layer noise, inner learning rate) stay unless the case says
// otherwise. Plain training has no use for a meta-optimiser's decay, which is left out.
absl::StatusOr<std::unique_ptr<TrainingEngine>> MakeBenchEngine(const BenchArguments& arguments,
                                                                v1::JobSpec spec,
                                                                const EstimatorCase& estimator);

// Peak of tensor memory that a step adds, and its time.
struct StepCost {
  double seconds = 0;
  int64_t peak_bytes = 0;
};
absl::StatusOr<StepCost> MeasureStep(TrainingEngine* engine, Communicator* communicator);

double Median(std::vector<double> values);

}  // namespace evograd

#endif  // EVOGRAD_BENCH_BENCH_JOB_H_
