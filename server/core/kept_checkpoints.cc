#include "server/core/kept_checkpoints.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "server/core/groups.h"
#include "spec/checkpoint_steps.h"

namespace evograd {
namespace {

// What evaluations are compared by; nothing where this one has no finite value of it.
absl::optional<double> ValueOf(const v1::KeepCheckpoints& keep, const v1::Evaluation& evaluation) {
  const auto metric = evaluation.metrics().find(keep.best_metric());
  if (metric == evaluation.metrics().end() || !std::isfinite(metric->second)) return absl::nullopt;
  return metric->second;
}

bool IsBetter(const v1::KeepCheckpoints& keep, double value, double than) {
  return keep.least() ? value < than : value > than;
}

// Null where there is no better one than none.
const v1::Checkpoint* Best(const JobEntry& job) {
  const v1::KeepCheckpoints& keep = job.job().spec().keep_checkpoints();
  if (keep.best_metric().empty()) return nullptr;
  const v1::Checkpoint* best = nullptr;
  double best_value = 0;
  for (const auto& [step, checkpoint] : job.checkpoints) {
    const absl::optional<double> value = ValueOf(keep, checkpoint.evaluation());
    if (!value.has_value() || (best != nullptr && !IsBetter(keep, *value, best_value))) continue;
    best = &checkpoint;
    best_value = *value;
  }
  return best;
}

}  // namespace

absl::Status CheckHasMetric(const v1::JobSpec& spec, const v1::Evaluation& evaluation) {
  const std::string& metric = spec.keep_checkpoints().best_metric();
  if (metric.empty() || evaluation.metrics().count(metric) > 0) return absl::OkStatus();
  std::set<std::string> known;
  for (const auto& [name, value] : evaluation.metrics()) known.insert(name);
  return absl::InvalidArgumentError(
      absl::StrCat("keep_checkpoints.best_metric: the evaluations of this problem have no `",
                   metric, "`; they have ", absl::StrJoin(known, ", ")));
}

void JoinEvaluation(MachineState* state, JobEntry* job, const v1::Evaluation& evaluation) {
  if (evaluation.metrics().empty()) return;
  const auto found = job->checkpoints.find(evaluation.step());
  if (found == job->checkpoints.end() || found->second.has_evaluation()) return;
  *found->second.mutable_evaluation() = evaluation;
  // They stand in the job's record and events; lists of checkpoints stay short.
  found->second.mutable_evaluation()->clear_warnings();
  state->effects.records.push_back(CheckpointRecord{job->uid(), found->second});
  MarkBest(state, job);
}

void MarkBest(MachineState* state, JobEntry* job) {
  const v1::Checkpoint* best = Best(*job);
  for (auto& [step, checkpoint] : job->checkpoints) {
    if (checkpoint.best() == (&checkpoint == best)) continue;
    checkpoint.set_best(&checkpoint == best);
    state->effects.records.push_back(CheckpointRecord{job->uid(), checkpoint});
  }
}

absl::optional<int64_t> BeyondUnstored(const JobEntry& job, int64_t phases) {
  // A group that committed more had stored it, or had given it up.
  const int64_t committed = job.job().committed_steps();
  const int64_t settled = std::max(LastCheckpointStep(job),
                                   job.active == nullptr ? -1 : job.active->settled_checkpoint);
  const int64_t end = std::min((phases + 1) / 2, committed + limits::kMaxPipelineDepth + 1);
  for (int64_t step = std::max(committed, settled + 1); step < end; ++step) {
    if (IsKeptStep(job.job().spec(), step)) return step;
  }
  return absl::nullopt;
}

void TellUnstoredBest(MachineState* state, JobEntry* job, const v1::Evaluation& evaluation) {
  const v1::KeepCheckpoints& keep = job->job().spec().keep_checkpoints();
  const absl::optional<double> value = ValueOf(keep, evaluation);
  // Of the beginning there is none.
  if (!value.has_value() || evaluation.step() == 0 || job->checkpoints.count(evaluation.step()) > 0)
    return;
  const v1::Checkpoint* best = Best(*job);
  const absl::optional<double> kept =
      best == nullptr ? absl::nullopt : ValueOf(keep, best->evaluation());
  if (kept.has_value() && !IsBetter(keep, *value, *kept)) return;
  state->AddNotice(
      job, WorkerId(),
      absl::StrCat("the best evaluation so far, step ", evaluation.step(), " with ",
                   keep.best_metric(), " ", *value, ", has no checkpoint: it could not be stored",
                   best == nullptr ? std::string()
                                   : absl::StrCat("; the best that is kept is that of step ",
                                                  best->step(), " with ", *kept)));
}

std::vector<v1::Checkpoint> TakeObsolete(MachineState* state, JobEntry* job) {
  std::vector<v1::Checkpoint> obsolete;
  const int64_t every = job->job().spec().keep_checkpoints().every_steps();
  auto next = job->checkpoints.begin();
  int64_t surplus = static_cast<int64_t>(job->checkpoints.size()) - limits::kKeptCheckpoints;
  for (; surplus > 0; --surplus) {
    const bool kept = next->second.best() || (every > 0 && next->first % every == 0);
    if (kept) {
      ++next;
      continue;
    }
    state->effects.records.push_back(CheckpointRemoval{job->uid(), next->first});
    obsolete.push_back(std::move(next->second));
    next = job->checkpoints.erase(next);
  }
  return obsolete;
}

}  // namespace evograd
