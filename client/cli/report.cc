#include "client/cli/report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/format.h"
#include "client/lib/job_state.h"
#include "spec/estimator.h"

namespace evograd {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// From then on a running job that has no step says so.
constexpr absl::Duration kStill = absl::Seconds(10);
constexpr char kAngle[] = "angle_degrees";
constexpr char kTrueAngle[] = "true_angle_degrees";
constexpr double kDegreesPerRadian = 57.29577951308232;

bool HasWeights(const v1::Estimator& estimator) {
  return HasMembers(estimator) && estimator.population() > 1;
}

// Without meta-learning nobody looks at validation data.
bool HasValidation(const v1::Estimator& estimator) {
  return estimator.kind() != v1::Estimator::NONE;
}

std::string FormatMetric(const std::string& name, double value,
                         const std::map<std::string, double>& all) {
  // Shares, by their names.
  for (const char* share : {"accuracy", "interval", "f1", "precision", "recall"}) {
    if (absl::StartsWith(name, share)) return absl::StrFormat("%.2f %%", 100 * value);
  }
  const auto truth = all.find(kTrueAngle);
  if (name == kAngle && truth != all.end()) {
    return absl::StrFormat("%.2f (true angle %s)", value, FormatNumber(truth->second));
  }
  return FormatNumber(value);
}

// Names and values as shown; the true angle stands beside the learned one.
Pairs MetricPairs(const v1::Evaluation& evaluation) {
  const std::map<std::string, double> all(evaluation.metrics().begin(), evaluation.metrics().end());
  Pairs pairs;
  for (const auto& [name, value] : all) {
    if (name == kTrueAngle && all.count(kAngle) > 0) continue;
    pairs.emplace_back(name, FormatMetric(name, value, all));
  }
  return pairs;
}

// Whether a part of the time from its start to its end lies before the coordinator served.
bool WasResumed(const v1::Job& job, absl::Time served_since) {
  return job.has_start_time() && job.has_end_time() && ToTime(job.start_time()) < served_since &&
         served_since < ToTime(job.end_time());
}

// What it took, from `served_since` on where it was resumed then.
double RunSeconds(const v1::Job& job, absl::Time served_since = absl::InfinitePast()) {
  if (!job.has_start_time() || !job.has_end_time()) return -1;
  const absl::Time begin = WasResumed(job, served_since) ? served_since : ToTime(job.start_time());
  return absl::ToDoubleSeconds(ToTime(job.end_time()) - begin);
}

std::string EstimatorSettings(const v1::Estimator& estimator) {
  const std::string name = EstimatorName(estimator);
  if (!HasMembers(estimator)) return name;
  return absl::StrCat(name, ", K = ", estimator.population(), ", sigma ",
                      FormatNumber(estimator.sigma()), ", tau ", FormatNumber(estimator.tau()),
                      estimator.guidance() > 0
                          ? absl::StrCat(", guidance ", FormatNumber(estimator.guidance()))
                          : "");
}

std::string ErrorText(const v1::JobError& error) {
  return absl::StrCat(error.message(), error.worker().empty()
                                           ? ""
                                           : absl::StrCat(" (on ", ShortName(error.worker()), ")"));
}

std::string StateAndReason(const std::string& state, const std::string& reason) {
  return absl::StrCat(state, reason.empty() ? "" : ": ", reason);
}

// When the job moved last, by what it says itself or what is known; InfiniteFuture: unknown.
absl::Time LastMove(const v1::Job& job, const KnownTimes& known) {
  if (job.has_last_step_time()) return ToTime(job.last_step_time());
  if (known.last_step != absl::InfiniteFuture()) return known.last_step;
  if (job.committed_steps() > 0) return absl::InfiniteFuture();
  if (job.has_start_time()) return ToTime(job.start_time());
  return job.has_create_time() ? ToTime(job.create_time()) : absl::InfiniteFuture();
}

absl::Duration Silence(const v1::Job& job, absl::Time now, const KnownTimes& known) {
  const absl::Time since = LastMove(job, known);
  // One that nobody has begun waits for workers, whose coming is no begin of its wait.
  const bool begun = job.has_start_time() || job.has_last_step_time();
  return now - (begun ? std::max(since, known.served_since) : since);
}

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& names) {
  return absl::StrJoin(names, ", ",
                       [](std::string* out, const std::string& name) { *out += ShortName(name); });
}

std::string Recoveries(const v1::Job& job) {
  if (job.recoveries() == 0 && job.restarts() == 0) return "";
  const auto times = [](int64_t count) {
    return count == 1 ? std::string("once") : absl::StrCat(count, " times");
  };
  std::vector<std::string> parts;
  if (job.recoveries() > 0) {
    parts.push_back(absl::StrCat("went on after losing a worker ", times(job.recoveries())));
  }
  if (job.restarts() > 0) {
    parts.push_back(absl::StrCat("started again from a checkpoint ", times(job.restarts())));
  }
  return absl::StrJoin(parts, ", ");
}

// The pairs of the last step and evaluation that a report and a description share.
void AppendFigures(const v1::Job& job, Pairs* pairs) {
  if (job.has_last_step()) {
    pairs->emplace_back("train loss", FormatNumber(job.last_step().train_loss()));
    if (HasValidation(job.spec().estimator())) {
      pairs->emplace_back("validation loss", FormatNumber(job.last_step().validation_loss()));
    }
    const std::string entropy = FormatEntropy(job, job.last_step());
    pairs->emplace_back("weights' entropy",
                        entropy.empty() ? "" : absl::StrCat(entropy, " of log K"));
    pairs->emplace_back("hyperparameters", FormatHyperparameters(job, job.last_step()));
  }
  if (!job.has_last_evaluation()) return;
  pairs->emplace_back("evaluation", absl::StrCat("after step ", job.last_evaluation().step()));
  for (const auto& pair : MetricPairs(job.last_evaluation())) {
    pairs->emplace_back("  " + pair.first, pair.second);
  }
  for (const std::string& warning : job.last_evaluation().warnings()) {
    pairs->emplace_back("  warning", warning);
  }
}

}  // namespace

std::string ShortName(const std::string& resource_name) {
  return resource_name.substr(resource_name.rfind('/') + 1);
}

std::string CheckpointFileName(const std::string& job, int64_t step) {
  return absl::StrCat(ShortName(job), "-", step, ".safetensors");
}

std::string EstimatorName(const v1::Estimator& estimator) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(v1::Estimator::Kind_Name(estimator.kind())),
                             {{"_", "-"}});
}

std::string FormatHyperparameters(const v1::Job& job, const v1::StepMetrics& step) {
  std::vector<std::string> parts;
  const int count = std::min(job.hyperparameter_names_size(), step.hyperparameters_size());
  for (int i = 0; i < count; ++i) {
    const std::string& name = job.hyperparameter_names(i);
    const double value = step.hyperparameters(i);
    // The one hyperparameter that people think of in another unit.
    const bool angle = job.spec().problem().has_rotation() && name == "angle";
    parts.push_back(angle ? absl::StrFormat("angle %.2f deg", value * kDegreesPerRadian)
                          : absl::StrCat(name, " ", FormatNumber(value)));
  }
  return absl::StrJoin(parts, ", ");
}

std::string FormatEvaluation(const v1::Evaluation& evaluation) {
  return absl::StrJoin(MetricPairs(evaluation), ", ", absl::PairFormatter(" "));
}

std::vector<std::string> FormatLosses(const v1::Job& job, const v1::StepMetrics& step) {
  const std::string train = absl::StrCat("train ", FormatNumber(step.train_loss()));
  if (!HasValidation(job.spec().estimator())) return {train};
  return {train, absl::StrCat("validation ", FormatNumber(step.validation_loss()))};
}

std::string FormatEntropy(const v1::Job& job, const v1::StepMetrics& step) {
  if (!HasWeights(job.spec().estimator())) return "";
  const double share = step.weights_entropy() / std::log(job.spec().estimator().population());
  return absl::StrFormat("%.3g %%", 100 * share);
}

bool StandsStill(const v1::Job& job, absl::Time now, const KnownTimes& known) {
  const absl::Duration silence = Silence(job, now, known);
  if (job.state() == v1::PENDING) return silence >= kStill;
  if (job.state() != v1::RUNNING) return false;
  // Steps may be slow by nature.
  const absl::Duration usual = 3 * absl::Seconds(std::max(0.0, job.seconds_per_step()));
  return silence >= std::max(kStill, usual);
}

std::string PresentReason(const v1::Job& job, absl::Time now, const KnownTimes& known) {
  if (!StandsStill(job, now, known)) return job.reason();
  const std::string age = FormatAge(Silence(job, now, known));
  if (job.state() == v1::PENDING) {
    return StateAndReason(absl::StrCat("waits for ", age), job.reason());
  }
  const bool all = job.spec().steps() > 0 && job.committed_steps() >= job.spec().steps();
  return StateAndReason(
      all ? absl::StrCat("the last step was ", age, " ago") : absl::StrCat("no step for ", age),
      job.reason());
}

std::string JobReport(const v1::Job& job, const std::string& state, absl::Time served_since) {
  const double seconds = RunSeconds(job, served_since);
  const char* since = WasResumed(job, served_since) ? " since it was resumed" : "";
  Pairs pairs = {
      {"job", job.name()},
      {"state", StateAndReason(state, job.reason())},
      {"error", job.has_error() ? ErrorText(job.error()) : ""},
      {"estimator", EstimatorSettings(job.spec().estimator())},
      {"meta-steps", absl::StrCat(job.committed_steps(), " of ", job.spec().steps())},
      {"time", seconds < 0 ? "" : absl::StrCat(FormatSeconds(seconds), since)},
      {"time per meta-step", job.seconds_per_step() > 0
                                 ? absl::StrCat(FormatSeconds(job.seconds_per_step()), " (median)")
                                 : ""},
      {"survived", Recoveries(job)}};
  AppendFigures(job, &pairs);
  if (!job.parameters_sha256().empty()) {
    pairs.emplace_back("parameters",
                       absl::StrCat("sha256 ", job.parameters_sha256().substr(0, 16), "…"));
  }
  return FormatPairs(pairs);
}

std::string ComparisonTable(const std::vector<v1::Job>& jobs, absl::Time served_since) {
  std::set<std::string> metrics;
  for (const v1::Job& job : jobs) {
    for (const auto& pair : MetricPairs(job.last_evaluation())) metrics.insert(pair.first);
  }
  std::vector<std::vector<std::string>> rows = {
      {"JOB", "ESTIMATOR", "STATE", "STEPS", "TIME", "PER STEP"}};
  for (const std::string& metric : metrics) rows[0].push_back(absl::AsciiStrToUpper(metric));
  for (const v1::Job& job : jobs) {
    rows.push_back({ShortName(job.name()), EstimatorName(job.spec().estimator()),
                    v1::JobState_Name(job.state()), absl::StrCat(job.committed_steps()),
                    absl::StrCat(WasResumed(job, served_since) ? "> " : "",
                                 FormatSeconds(RunSeconds(job, served_since))),
                    job.seconds_per_step() > 0 ? FormatSeconds(job.seconds_per_step()) : "-"});
    const Pairs pairs = MetricPairs(job.last_evaluation());
    const std::map<std::string, std::string> shown(pairs.begin(), pairs.end());
    for (const std::string& metric : metrics) {
      rows.back().push_back(shown.count(metric) > 0 ? shown.at(metric) : "-");
    }
  }
  return FormatTable(rows);
}

std::vector<std::string> StepsBack(const std::vector<v1::Event>& events, absl::Time now) {
  std::vector<std::string> lines;
  int64_t completed = 0;
  std::string reason;
  for (const v1::Event& event : events) {
    if (event.has_steps_committed() && event.steps_committed().steps_size() > 0) {
      completed = event.steps_committed().steps().rbegin()->step() + 1;
    } else if (event.has_restarted()) {
      reason = event.restarted().reason();
    } else if (event.has_generation_ended()) {
      reason = event.generation_ended().reason();
    } else if (event.has_generation_started()) {
      const int64_t step = event.generation_started().step();
      if (step < completed) {
        lines.push_back(StateAndReason(absl::StrCat("from step ", completed, " to ", step, ", ",
                                                    FormatAge(now - ToTime(event.time())), " ago"),
                                       reason));
        completed = step;
      }
    }
  }
  return lines;
}

std::string UnstoredBest(const v1::KeepCheckpoints& keep, const std::vector<v1::Event>& events,
                         const v1::Checkpoint* best) {
  const auto value_of = [&](const v1::Evaluation& evaluation) {
    const auto metric = evaluation.metrics().find(keep.best_metric());
    const bool there = metric != evaluation.metrics().end() && std::isfinite(metric->second);
    // The greatest counts; of none, less than any.
    return !there         ? -std::numeric_limits<double>::infinity()
           : keep.least() ? -metric->second
                          : metric->second;
  };
  const v1::Evaluation* greatest = nullptr;
  for (const v1::Event& event : events) {
    // Of the beginning there is no checkpoint.
    if (!event.has_evaluated() || event.evaluated().step() == 0) continue;
    if (greatest == nullptr || value_of(event.evaluated()) > value_of(*greatest)) {
      greatest = &event.evaluated();
    }
  }
  const v1::Evaluation kept = best == nullptr ? v1::Evaluation() : best->evaluation();
  if (greatest == nullptr || value_of(*greatest) <= value_of(kept)) return "";
  const auto text_of = [&](const v1::Evaluation& evaluation) {
    return absl::StrCat("step ", evaluation.step(), ", ", keep.best_metric(), " ",
                        FormatNumber(evaluation.metrics().at(keep.best_metric())));
  };
  return absl::StrCat("the best evaluation (", text_of(*greatest), ") has no checkpoint; ",
                      best == nullptr
                          ? "none that is there was evaluated"
                          : absl::StrCat("the best of those that are there is ", text_of(kept)));
}

std::string JobDescription(const v1::Job& job, const std::vector<v1::Checkpoint>& checkpoints,
                           const std::vector<std::string>& steps_back, const std::string& state,
                           absl::Time now, const KnownTimes& known) {
  std::string progress =
      absl::StrCat(job.committed_steps(), " of ", job.spec().steps(), " meta-steps");
  if (job.seconds_per_step() > 0) {
    absl::StrAppend(&progress, ", ", FormatSeconds(job.seconds_per_step()), " each");
    const double left = job.seconds_per_step() * (job.spec().steps() - job.committed_steps());
    if (job.state() == v1::RUNNING) absl::StrAppend(&progress, ", ETA ", FormatClock(left));
  }
  std::string last_step;
  if (job.state() == v1::RUNNING && job.has_last_step_time()) {
    last_step = absl::StrCat(FormatAge(now - ToTime(job.last_step_time())), " ago");
  }
  std::string workers;
  if (job.workers_size() > 0 && !IsEnded(job.state())) {
    workers = absl::StrCat(Joined(job.workers()), " (generation ", job.generation(), ")");
  }
  Pairs pairs = {{"job", job.name()},
                 {"display name", job.spec().display_name()},
                 {"state", StateAndReason(state, PresentReason(job, now, known))},
                 {"error", job.has_error() ? ErrorText(job.error()) : ""},
                 {"owner", job.owner()},
                 {"created", absl::StrCat(FormatAge(now - ToTime(job.create_time())), " ago")},
                 {"time", RunSeconds(job) < 0 ? "" : FormatSeconds(RunSeconds(job))},
                 {"progress", progress},
                 {"last step", last_step},
                 {"workers", workers},
                 {"computes with", job.numerics()},
                 {"survived", Recoveries(job)}};
  for (const std::string& line : steps_back) pairs.emplace_back("went back", line);
  AppendFigures(job, &pairs);
  if (!checkpoints.empty()) {
    int64_t last = 0;
    std::string best;
    for (const v1::Checkpoint& checkpoint : checkpoints) {
      last = std::max(last, checkpoint.step());
      if (checkpoint.best()) best = absl::StrCat(", the best at step ", checkpoint.step());
    }
    pairs.emplace_back("checkpoints",
                       absl::StrCat(checkpoints.size(), ", the last at step ", last, best));
  }
  pairs.emplace_back("parameters sha256", job.parameters_sha256());
  pairs.emplace_back("hyperparameters sha256", job.hyperparameters_sha256());
  return absl::StrCat(FormatPairs(pairs), "\nThe job, with all its defaults:\n",
                      ToYaml(job.spec(), 2));
}

std::string JobsTable(const std::vector<v1::Job>& jobs, absl::Time now, const KnownTimes& known) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "STEPS", "VALIDATION", "WORKERS", "AGE", "REASON"}};
  for (const v1::Job& job : jobs) {
    rows.push_back({ShortName(job.name()), v1::JobState_Name(job.state()),
                    absl::StrCat(job.committed_steps()),
                    job.has_last_step() ? FormatNumber(job.last_step().validation_loss()) : "-",
                    IsEnded(job.state()) ? "-" : absl::StrCat(job.workers_size()),
                    FormatAge(now - ToTime(job.create_time())), PresentReason(job, now, known)});
  }
  return FormatTable(rows);
}

std::string WorkersTable(const std::vector<v1::Worker>& workers, absl::Time now) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "DEVICE", "HOST", "PID", "JOB", "HEARTBEAT", "REASON"}};
  for (const v1::Worker& worker : workers) {
    rows.push_back(
        {ShortName(worker.name()), v1::WorkerState_Name(worker.state()),
         absl::StrCat(v1::DeviceKind_Name(worker.device_kind()), " ", worker.device_name()),
         worker.host(), absl::StrCat(worker.process_id()),
         worker.job().empty() ? "-" : ShortName(worker.job()),
         absl::StrCat(FormatAge(now - ToTime(worker.last_heartbeat_time())), " ago"),
         worker.reason()});
  }
  return FormatTable(rows);
}

std::string CheckpointsTable(const std::vector<v1::Checkpoint>& checkpoints, absl::Time now) {
  bool evaluated = false;
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    evaluated = evaluated || checkpoint.has_evaluation() || checkpoint.best();
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "STEP", "SIZE", "AGE"}};
  if (evaluated) rows[0].insert(rows[0].end(), {"BEST", "EVALUATION"});
  rows[0].push_back("SHA256");
  for (const v1::Checkpoint& checkpoint : checkpoints) {
    rows.push_back({checkpoint.name(), absl::StrCat(checkpoint.step()),
                    FormatBytes(checkpoint.size_bytes()),
                    FormatAge(now - ToTime(checkpoint.create_time()))});
    if (evaluated) {
      rows.back().push_back(checkpoint.best() ? "best" : "");
      rows.back().push_back(checkpoint.has_evaluation() ? FormatEvaluation(checkpoint.evaluation())
                                                        : "-");
    }
    rows.back().push_back(checkpoint.sha256());
  }
  return FormatTable(rows);
}

}  // namespace evograd
