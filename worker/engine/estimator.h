// How a hypergradient is estimated: one of the methods that a job names.
//
// An estimator reads the base state and the context, writes only the state's scratch tensors, and
// answers the same bits on every rank. An error leaves the base state as it was.
//
// Threads: one. Errors: the problem's and the communicator's.
#ifndef EVOGRAD_WORKER_ENGINE_ESTIMATOR_H_
#define EVOGRAD_WORKER_ENGINE_ESTIMATOR_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/base_pass.h"
#include "worker/engine/step_context.h"

namespace evograd {

struct Estimate {
  std::vector<double> hypergradient;  // [H]
  double validation_loss = 0;
  // Of the members; empty where the method has none.
  std::vector<double> member_losses;
  double weights_entropy = 0;
};

class Estimator {
 public:
  virtual ~Estimator() = default;

  // Whether it takes part in the base step's forward and backward; both updates then come from the
  // same lambda and theta, and are made together.
  virtual bool shares_base_pass() const { return false; }
  // Whether it then needs that pass's gradient to lambda.
  virtual bool wants_base_hypergradient() const { return false; }

  // Collective. `base` is that pass where it is shared, else null.
  virtual absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass* base) = 0;
};

// `parts` outlives it. `base_pass` too: the methods that need the training gradient run it.
std::unique_ptr<Estimator> MakeEstimator(EngineParts* parts, BasePassRunner* base_pass);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_ESTIMATOR_H_
