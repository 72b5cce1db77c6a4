// Time and memory of one meta-step, as multiples of a plain training step of the same job:
//
//   meta_step --job=examples/rotation.yaml [--override='problem { … }'] [--device=cpu|cuda:0]
//             [--cases='evograd K=2;t1t2'] [--steps=30] [--warm_up=2]
//
// All estimators are stepped in turn, so that a machine's moods meet them alike; times are medians.
// Memory is the peak of tensor memory that a step adds, above what the job holds between steps,
// plus theta, gradient and optimiser state; data sets are not counted. Each line is one JSON
// object.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "bench/bench_job.h"
#include "common/status_macros.h"
#include "worker/collective/in_process_communicator.h"

namespace evograd {
namespace {

const EstimatorCase kCases[] = {
    {"vanilla", "kind: NONE"},
    {"evograd K=2", "population: 2"},
    {"evograd K=2, graphs kept", "population: 2 member_graph: RETAIN"},
    {"evograd K=2, recomputed", "population: 2 member_graph: RECOMPUTE"},
    {"evograd K=8", "population: 8"},
    {"evograd K=32", "population: 32"},
    {"evograd-shared K=2", "kind: EVOGRAD_SHARED"},
    {"evograd-guided K=2", "kind: EVOGRAD_GUIDED"},
    {"finite-difference", "kind: FINITE_DIFFERENCE"},
    {"t1t2", "kind: T1T2"},
    {"neumann, 5 terms", "kind: NEUMANN"},
};

// One estimator and what was measured of it.
struct Entry {
  std::string name;
  std::unique_ptr<TrainingEngine> engine;
  std::vector<double> seconds;
  int64_t peak_bytes = 0;
};

absl::Status Run(const BenchArguments& arguments) {
  EVOGRAD_ASSIGN_OR_RETURN(const v1::JobSpec spec, ReadBenchJob(arguments));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<EstimatorCase> cases,
                           ChosenCases(arguments, kCases, /*always=*/1));
  std::vector<Entry> entries;
  for (const EstimatorCase& estimator : cases) {
    EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<TrainingEngine> engine,
                             MakeBenchEngine(arguments, spec, estimator));
    entries.push_back({estimator.name, std::move(engine), {}, 0});
  }
  const auto alone = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  for (int step = -arguments.warm_up; step < arguments.steps; ++step) {
    for (Entry& entry : entries) {
      EVOGRAD_ASSIGN_OR_RETURN(const StepCost cost,
                               MeasureStep(entry.engine.get(), alone[0].get()));
      if (step < 0) continue;
      entry.seconds.push_back(cost.seconds);
      entry.peak_bytes =
          std::max(entry.peak_bytes, entry.engine->parts().state->bytes() + cost.peak_bytes);
    }
  }
  const double plain_seconds = Median(entries[0].seconds);
  const double plain_bytes = entries[0].peak_bytes;
  for (const Entry& entry : entries) {
    std::printf(
        "{\"name\": \"%s\", \"device\": \"%s\", \"steps\": %d, \"ms\": %.2f, \"time_ratio\": %.2f, "
        "\"peak_mib\": %.2f, \"memory_ratio\": %.3f}\n",
        entry.name.c_str(), arguments.device.c_str(), arguments.steps, 1e3 * Median(entry.seconds),
        Median(entry.seconds) / plain_seconds, entry.peak_bytes / 1048576.0,
        entry.peak_bytes / plain_bytes);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  evograd::BenchArguments defaults;
  defaults.steps = 30;
  defaults.warm_up = 2;
  const absl::Status status = evograd::Run(evograd::ParseBenchArguments(argc, argv, defaults));
  if (!status.ok()) std::fprintf(stderr, "meta_step: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
