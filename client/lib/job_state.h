// What the states of a job mean to a client.
#ifndef EVOGRAD_CLIENT_LIB_JOB_STATE_H_
#define EVOGRAD_CLIENT_LIB_JOB_STATE_H_

#include "proto/evograd/v1/job.pb.h"

namespace evograd {

// It stays in such a state.
inline bool IsEnded(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_JOB_STATE_H_
