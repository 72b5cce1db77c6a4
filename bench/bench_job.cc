#include "bench/bench_job.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "google/protobuf/text_format.h"
#include "spec/job_file.h"
#include "spec/resolve.h"
#include "worker/engine/memory_meter.h"
#include "worker/problems/registry.h"

namespace evograd {
namespace {

[[noreturn]] void Usage(const char* program, const BenchArguments& defaults) {
  std::fprintf(stderr,
               "usage: %s --job=FILE [--override='problem { … }'] [--plain='problem { … }'] "
               "[--device=cpu|cuda:0] [--cases='NAME;…'] [--steps=%d] [--warm_up=%d]\n",
               program, defaults.steps, defaults.warm_up);
  std::exit(2);
}

absl::Status Resolved(v1::JobSpec* spec) {
  for (const FieldViolation& violation : Resolve(spec)) {
    return absl::InvalidArgumentError(absl::StrCat(violation.field, ": ", violation.description));
  }
  return absl::OkStatus();
}

}  // namespace

BenchArguments ParseBenchArguments(int argc, char** argv, const BenchArguments& defaults) {
  BenchArguments arguments = defaults;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--job=")) {
      arguments.job = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--override=")) {
      arguments.override = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--plain=")) {
      arguments.plain = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--device=")) {
      arguments.device = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--cases=")) {
      arguments.cases = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--warm_up=")) {
      if (!absl::SimpleAtoi(argument, &arguments.warm_up) || arguments.warm_up < 0) {
        Usage(argv[0], defaults);
      }
    } else if (!absl::ConsumePrefix(&argument, "--steps=") ||
               !absl::SimpleAtoi(argument, &arguments.steps) || arguments.steps < 1) {
      Usage(argv[0], defaults);
    }
  }
  if (arguments.job.empty()) Usage(argv[0], defaults);
  // `bazel run` starts programs elsewhere.
  const char* const folder = std::getenv("BUILD_WORKING_DIRECTORY");
  if (folder != nullptr && arguments.job[0] != '/') {
    arguments.job = absl::StrCat(folder, "/", arguments.job);
  }
  return arguments;
}

absl::StatusOr<std::vector<EstimatorCase>> ChosenCases(const BenchArguments& arguments,
                                                       absl::Span<const EstimatorCase> all,
                                                       size_t always) {
  if (arguments.cases.empty()) return std::vector<EstimatorCase>(all.begin(), all.end());
  std::set<std::string> wanted = absl::StrSplit(arguments.cases, ';', absl::SkipEmpty());
  std::vector<EstimatorCase> chosen;
  for (size_t i = 0; i < all.size(); ++i) {
    if (wanted.erase(all[i].name) > 0 || i < always) chosen.push_back(all[i]);
  }
  if (wanted.empty()) return chosen;
  return absl::InvalidArgumentError(
      absl::StrCat("--cases: there is no \"", *wanted.begin(), "\"; there are ",
                   absl::StrJoin(all, "; ", [](std::string* out, const EstimatorCase& estimator) {
                     *out += estimator.name;
                   })));
}

absl::StatusOr<v1::JobSpec> ReadBenchJob(const BenchArguments& arguments) {
  std::ifstream in(arguments.job, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat(arguments.job, " cannot be read"));
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  EVOGRAD_ASSIGN_OR_RETURN(const JobFile file, ParseJobFile(text, arguments.job));
  v1::JobSpec spec = file.spec;
  if (!google::protobuf::TextFormat::MergeFromString(arguments.override, &spec)) {
    return absl::InvalidArgumentError("--override is no JobSpec as text");
  }
  spec.set_evaluation_interval_steps(0);
  EVOGRAD_RETURN_IF_ERROR(Resolved(&spec));
  return spec;
}

absl::StatusOr<std::unique_ptr<TrainingEngine>> MakeBenchEngine(const BenchArguments& arguments,
                                                                v1::JobSpec spec,
                                                                const EstimatorCase& estimator) {
  static const CancelFlag never{false};
  v1::Estimator changed;
  changed.set_inner_learning_rate(spec.estimator().inner_learning_rate());
  if (!google::protobuf::TextFormat::MergeFromString(estimator.text, &changed)) {
    return absl::InternalError(absl::StrCat("no estimator: ", estimator.text));
  }
  *spec.mutable_estimator() = changed;
  if (changed.kind() == v1::Estimator::NONE) {
    spec.mutable_meta_optimizer()->set_weight_decay(0);
    if (!google::protobuf::TextFormat::MergeFromString(arguments.plain, &spec)) {
      return absl::InvalidArgumentError("--plain is no JobSpec as text");
    }
  }
  EVOGRAD_RETURN_IF_ERROR(Resolved(&spec));
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Problem> problem,
                           MakeProblem(spec, arguments.device, never));
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<TrainingEngine> engine,
                           TrainingEngine::Create(spec, "bench", EngineOptions{arguments.device},
                                                  std::move(problem), never));
  EVOGRAD_RETURN_IF_ERROR(engine->Initialise());
  return engine;
}

absl::StatusOr<StepCost> MeasureStep(TrainingEngine* engine, Communicator* communicator) {
  const MemoryMeter meter;
  const absl::Time start = absl::Now();
  EVOGRAD_RETURN_IF_ERROR(engine->RunStep(*communicator));
  const StepCost cost{absl::ToDoubleSeconds(absl::Now() - start), meter.peak_bytes()};
  engine->Forget(engine->completed_steps());
  return cost;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace evograd
