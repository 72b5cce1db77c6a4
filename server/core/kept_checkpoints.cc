#include "server/core/kept_checkpoints.h"

#include <cmath>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/service_limits.h"

namespace evograd {
namespace {

// Null where there is no better one than none.
const v1::Checkpoint* Best(const JobEntry& job) {
  const v1::KeepCheckpoints& keep = job.job().spec().keep_checkpoints();
  if (keep.best_metric().empty()) return nullptr;
  const v1::Checkpoint* best = nullptr;
  double best_value = 0;
  for (const auto& [step, checkpoint] : job.checkpoints) {
    const auto metric = checkpoint.evaluation().metrics().find(keep.best_metric());
    if (metric == checkpoint.evaluation().metrics().end() || !std::isfinite(metric->second)) {
      continue;
    }
    const bool better = keep.least() ? metric->second < best_value : metric->second > best_value;
    if (best != nullptr && !better) continue;
    best = &checkpoint;
    best_value = metric->second;
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
