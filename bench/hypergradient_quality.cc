// How good each estimator's hypergradient is, against exact second order (T1T2) of the same step,
// and what it costs:
//
//   hypergradient_quality --job=examples/meta-weight-net.yaml [--override='problem { … }']
//                         [--device=cpu|cuda:0] [--cases='evograd K=2'] [--steps=20]
//                         [--warm_up=0]
//
// The job is trained by T1T2, hyper step first. At each step every estimator starts from that same
// state; its hypergradient is compared by cosine and by the ratio of sizes. All are calibrated, so
// that a ratio of 1 is right. Printed per estimator: mean and standard deviation over the steps,
// the cosine of the mean hypergradient with the mean exact one, and the median time over a plain
// step's. Each line is one JSON object; bench/plot_quality.py draws them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/bench_job.h"
#include "common/status_macros.h"
#include "worker/collective/in_process_communicator.h"

namespace evograd {
namespace {

using Vector = std::vector<double>;

const EstimatorCase kCases[] = {
    {"t1t2", "kind: T1T2"},
    {"vanilla", "kind: NONE"},
    {"evograd K=2", "population: 2 calibrated: true"},
    {"evograd K=8", "population: 8 calibrated: true"},
    {"evograd K=32", "population: 32 calibrated: true"},
    {"evograd-antithetic K=8", "kind: EVOGRAD_ANTITHETIC population: 8 calibrated: true"},
    {"evograd-antithetic K=32", "kind: EVOGRAD_ANTITHETIC population: 32 calibrated: true"},
    {"antithetic K=32, look-ahead",
     "kind: EVOGRAD_ANTITHETIC population: 32 calibrated: true gradient_at: LOOK_AHEAD "
     "common_layer_noise: true"},
    {"evograd-shared K=2", "kind: EVOGRAD_SHARED calibrated: true"},
    {"guided K=2, share 0.001", "kind: EVOGRAD_GUIDED guidance: 0.001 sigma: 1e-4"},
    {"guided K=2, share 0.01", "kind: EVOGRAD_GUIDED guidance: 0.01 sigma: 1e-4"},
    {"guided K=2, share 0.1", "kind: EVOGRAD_GUIDED guidance: 0.1"},
    {"guided K=2, share 1", "kind: EVOGRAD_GUIDED"},
    {"guided K=2, share 1, g_V at base", "kind: EVOGRAD_GUIDED gradient_at: BASE"},
    {"finite-difference", "kind: FINITE_DIFFERENCE"},
    {"neumann, 5 terms", "kind: NEUMANN"},
    {"cg, 5 steps", "kind: CG"},
};

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// 0 where one of them is.
double Cosine(const Vector& a, const Vector& b) {
  const double norms = std::sqrt(Dot(a, a) * Dot(b, b));
  return norms > 0 ? Dot(a, b) / norms : 0;
}

struct Moments {
  double sum = 0;
  double squares = 0;
  int count = 0;

  void Add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return sum / count; }
  double deviation() const { return std::sqrt(std::max(squares / count - mean() * mean(), 0.0)); }
};

struct Entry {
  std::string name;
  std::unique_ptr<TrainingEngine> engine;
  std::vector<double> seconds;
  Moments cosine;
  Moments size;
  Vector sum;
};

void AddTo(const Vector& values, Vector* sum) {
  sum->resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) (*sum)[i] += values[i];
}

// Steps from `state` and gives the hypergradient.
absl::StatusOr<Vector> HypergradientFrom(const std::string& state, Communicator* communicator,
                                         Entry* entry) {
  EVOGRAD_RETURN_IF_ERROR(entry->engine->Restore(state));
  const absl::Time start = absl::Now();
  EVOGRAD_RETURN_IF_ERROR(entry->engine->RunStep(*communicator));
  entry->seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  const auto& values = entry->engine->pending().back().hypergradient();
  return Vector(values.begin(), values.end());
}

absl::Status Run(const BenchArguments& arguments) {
  EVOGRAD_ASSIGN_OR_RETURN(v1::JobSpec spec, ReadBenchJob(arguments));
  spec.set_step_order(v1::HYPER_FIRST);
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<EstimatorCase> cases,
                           ChosenCases(arguments, kCases, /*always=*/2));
  std::vector<Entry> entries;
  for (const EstimatorCase& estimator : cases) {
    EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<TrainingEngine> engine,
                             MakeBenchEngine(arguments, spec, estimator));
    entries.push_back({estimator.name, std::move(engine), {}, {}, {}, {}});
  }
  const auto alone = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  Entry& exact = entries[0];
  for (int step = 0; step < arguments.warm_up; ++step) {
    EVOGRAD_RETURN_IF_ERROR(exact.engine->RunStep(*alone[0]));
    exact.engine->Forget(exact.engine->completed_steps());
  }
  for (int step = 0; step < arguments.steps; ++step) {
    EVOGRAD_ASSIGN_OR_RETURN(const std::string state, exact.engine->Serialise());
    Vector truth;
    for (Entry& entry : entries) {
      EVOGRAD_ASSIGN_OR_RETURN(const Vector values,
                               HypergradientFrom(state, alone[0].get(), &entry));
      if (&entry == &exact) truth = values;
      // A warm-up's first step is one of length 0.
      if (!(Dot(truth, truth) > 0)) continue;
      entry.cosine.Add(Cosine(values, truth));
      entry.size.Add(std::sqrt(Dot(values, values) / Dot(truth, truth)));
      AddTo(values, &entry.sum);
    }
    exact.engine->Forget(exact.engine->completed_steps());
  }
  if (exact.cosine.count == 0) {
    return absl::FailedPreconditionError("the exact hypergradient is zero at every step");
  }
  const double plain = Median(entries[1].seconds);
  for (const Entry& entry : entries) {
    std::printf(
        "{\"name\": \"%s\", \"device\": \"%s\", \"steps\": %d, \"cosine\": %.5f, "
        "\"cosine_deviation\": %.5f, \"size\": %.4f, \"size_deviation\": %.4f, "
        "\"cosine_of_mean\": %.5f, \"time_ratio\": %.2f}\n",
        entry.name.c_str(), arguments.device.c_str(), entry.cosine.count, entry.cosine.mean(),
        entry.cosine.deviation(), entry.size.mean(), entry.size.deviation(),
        Cosine(entry.sum, exact.sum), Median(entry.seconds) / plain);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  evograd::BenchArguments defaults;
  defaults.steps = 20;
  const absl::Status status = evograd::Run(evograd::ParseBenchArguments(argc, argv, defaults));
  if (!status.ok()) std::fprintf(stderr, "hypergradient_quality: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
