// The coordinator's copy of one job's hyperparameter state (algo/advance.h), advanced by each
// result that comes in and compared with what the workers have, and the checksums of the recent
// steps. Plain state; one thread.
#ifndef EVOGRAD_SERVER_CORE_HYPER_TRACK_H_
#define EVOGRAD_SERVER_CORE_HYPER_TRACK_H_

#include <cstdint>
#include <deque>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "algo/advance.h"
#include "proto/evograd/v1/job.pb.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

class HyperTrack {
 public:
  // `spec` is resolved. The track is at step 0 and learns the initial values from step 0's result.
  explicit HyperTrack(const v1::JobSpec& spec);

  // Goes on from what Encode gave. DATA_LOSS, FAILED_PRECONDITION: see DecodeHyperState.
  absl::Status Decode(absl::string_view encoded);
  std::string Encode() const { return EncodeHyperState(state_); }

  // Takes the result of step `steps()`. On error nothing changes: OUT_OF_RANGE: a value is not
  // finite; DATA_LOSS: the worker has another state than what its own hypergradient leads to;
  // INVALID_ARGUMENT: the result does not fit.
  absl::Status Advance(const v1::StepResult& result);

  int64_t steps() const { return state_.step; }

  // Of the state after `step`; none where it is not one of the recent ones.
  absl::optional<uint64_t> RecentChecksum(int64_t step) const;

 private:
  OptimizerConfig config_;
  HyperState state_;
  // Of the steps before steps(), the last at the end.
  std::deque<uint64_t> recent_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_HYPER_TRACK_H_
