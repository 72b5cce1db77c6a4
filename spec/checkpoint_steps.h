// At which steps a job's checkpoints are due, whatever the time; the part of the schedule that all
// ranks and the coordinator work out alike.
//
// Pure; any thread.
#ifndef EVOGRAD_SPEC_CHECKPOINT_STEPS_H_
#define EVOGRAD_SPEC_CHECKPOINT_STEPS_H_

#include <cstdint>

#include "proto/evograd/v1/job.pb.h"

namespace evograd {

// Whether the checkpoint of `step` completed steps, of a resolved spec, is one that the user asked
// to keep or have compared with the best: it is written even if training has to wait for it.
bool IsKeptStep(const v1::JobSpec& spec, int64_t step);

// Whether one is written then, for whatever reason but time.
bool IsCheckpointStep(const v1::JobSpec& spec, int64_t step);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_CHECKPOINT_STEPS_H_
