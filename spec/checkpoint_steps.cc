#include "spec/checkpoint_steps.h"

namespace evograd {
namespace {

bool IsMultiple(int64_t step, int64_t interval) { return interval > 0 && step % interval == 0; }

}  // namespace

bool IsKeptStep(const v1::JobSpec& spec, int64_t step) {
  if (step <= 0) return false;
  const v1::KeepCheckpoints& keep = spec.keep_checkpoints();
  const bool compared =
      !keep.best_metric().empty() && IsMultiple(step, spec.evaluation_interval_steps());
  return compared || IsMultiple(step, keep.every_steps());
}

bool IsCheckpointStep(const v1::JobSpec& spec, int64_t step) {
  if (step <= 0) return false;
  return step == spec.steps() || IsMultiple(step, spec.checkpoint_interval_steps()) ||
         IsKeptStep(spec, step);
}

}  // namespace evograd
