// One meta-step in full, as a safetensors file: everything that another implementation needs to
// compute the same step, and what this one got. Before the step:
//
//   parameters.NAME, buffers.NAME    theta and the buffers, as shaped tensors
//   lambda                           float64
//   train.I, validation.I            the tensors of the step's batches
//   noise.K.NAME                     what member K adds to tensor NAME, over sigma
//
// and after it:
//
//   member_losses, train_loss, validation_loss, hypergradient    float64
//   weights, projections, coefficients                           float64, one per member: w, s, c
//   validation_gradient.NAME                                     g_V, at the recombined theta
//   next.parameters.NAME, next.buffers.NAME, next.lambda
//
// The three rows of w, s, c and g_V stand there for the estimators that have members. Its text
// holds `spec` (the resolved JobSpec, JSON; with its seed, noise.K is a function of
// algo/noise.h) and `base_first` (true or false): with true,
// the members stand around next.parameters.
#ifndef EVOGRAD_WORKER_ENGINE_HYPERGRADIENT_DUMP_H_
#define EVOGRAD_WORKER_ENGINE_HYPERGRADIENT_DUMP_H_

#include <string>

#include "absl/status/status.h"
#include "worker/engine/training_engine.h"

namespace evograd {

// Initialises `engine` and makes its first step. Errors: those of a step and of SafetensorsWriter.
absl::Status DumpHypergradient(TrainingEngine& engine, const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_HYPERGRADIENT_DUMP_H_
