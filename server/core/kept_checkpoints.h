// Which of a job's checkpoints stay: the last limits::kKeptCheckpoints, and those of its
// JobSpec.keep_checkpoints. The latter are made whoever is lost meanwhile: a group takes no step
// beyond one of them before it is stored (worker/core/agent_machine.h), and no state from beyond it
// is gone on with.
//
// Threads: the machine's.
#ifndef EVOGRAD_SERVER_CORE_KEPT_CHECKPOINTS_H_
#define EVOGRAD_SERVER_CORE_KEPT_CHECKPOINTS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "server/core/job_table.h"
#include "server/core/machine_state.h"

namespace evograd {

// INVALID_ARGUMENT: the job compares its checkpoints by a metric that its evaluations do not have.
absl::Status CheckHasMetric(const v1::JobSpec& spec, const v1::Evaluation& evaluation);

// Joins what an evaluation found to the checkpoint of the same step, where that is stored, and says
// anew which is the best.
void JoinEvaluation(MachineState* state, JobEntry* job, const v1::Evaluation& evaluation);

// The step that a state at `phases` lies beyond though its checkpoint is to be kept and is neither
// stored nor given up; nothing where there is none.
absl::optional<int64_t> BeyondUnstored(const JobEntry& job, int64_t phases);

// Tells the job's user where `evaluation` is the best so far and its checkpoint was given up.
void TellUnstoredBest(MachineState* state, JobEntry* job, const v1::Evaluation& evaluation);

// Of those with a finite value of the metric, the first of the best; after any change of them.
void MarkBest(MachineState* state, JobEntry* job);

// Takes out, and returns, what need not be kept. An evaluation that makes another one the best
// leaves the last best there until the next is stored.
std::vector<v1::Checkpoint> TakeObsolete(MachineState* state, JobEntry* job);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_KEPT_CHECKPOINTS_H_
