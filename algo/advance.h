// The hyperparameter state as a replicated state machine: `Advance(state, hypergradient) -> state`.
//
// Coordinator and workers apply this same function, on whatever machines, and compare checksums:
// the arithmetic is double, rounded as written, with no call into libm but the square root, which
// IEEE 754 fixes. Pure; any thread that owns the state.
//
//   HyperState state = InitialHyperState(initial_values, config);
//   EVOGRAD_RETURN_IF_ERROR(Advance(config, hypergradient, &state));  // state.step is now 1
//   uint64_t checksum = Checksum(state);
#ifndef EVOGRAD_ALGO_ADVANCE_H_
#define EVOGRAD_ALGO_ADVANCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "algo/optimizer.h"

namespace evograd {

struct HyperState {
  int64_t step = 0;            // meta-steps taken
  std::vector<double> values;  // lambda
  // The meta-optimiser's slots: as long as `values`, or empty where it has no such slot.
  std::vector<double> first_moment;
  std::vector<double> second_moment;
};

HyperState InitialHyperState(std::vector<double> values, const OptimizerConfig& config);

// The Euclidean norm, summed in order.
double Norm(absl::Span<const double> values);

// One step of the meta-optimiser. On error the state is untouched: OUT_OF_RANGE names the first
// index whose gradient, new value or new moment is not finite; INVALID_ARGUMENT where the gradient
// is not as long as lambda or the state's slots are not those of `config`.
absl::Status Advance(const OptimizerConfig& config, absl::Span<const double> hypergradient,
                     HyperState* state);

// The first 8 bytes of the SHA-256 of the step, the arrays' lengths and the arrays, all
// little-endian.
uint64_t Checksum(const HyperState& state);

// Bytes that DecodeHyperState takes, with a version and a SHA-256 of their own.
std::string EncodeHyperState(const HyperState& state);
// DATA_LOSS where bytes are missing, too many or changed; FAILED_PRECONDITION where they are whole
// but of another version.
absl::StatusOr<HyperState> DecodeHyperState(absl::string_view bytes);

}  // namespace evograd

#endif  // EVOGRAD_ALGO_ADVANCE_H_
