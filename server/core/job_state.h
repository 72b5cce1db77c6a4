// What each state of a job guarantees.
//
//   PENDING    Accepted and durable. `reason` says what it waits for. It holds no committed
//   generation of workers: it
//              was never started, or lost all workers and waits for new ones to go on from a
//              checkpoint.
//   RUNNING    A generation of workers was cut; it computes, or is being formed anew from those
//   that are left. SUCCEEDED  All steps are committed; the final figures and hashes are those of
//   the last step. FAILED     `error` says why, and which worker failed first. Committed steps stay
//   readable. CANCELLED  A user ended it. Committed steps stay readable.
//
// PENDING -> RUNNING -> SUCCEEDED, FAILED or CANCELLED; PENDING may also end directly, and RUNNING
// goes back to PENDING when no worker of the job is left and too few are free. A job that has ended
// never changes again, and its workers are free only after they said that they dropped everything
// of it.
#ifndef EVOGRAD_SERVER_CORE_JOB_STATE_H_
#define EVOGRAD_SERVER_CORE_JOB_STATE_H_

#include "proto/evograd/v1/job.pb.h"

namespace evograd {

inline bool IsEnded(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_JOB_STATE_H_
