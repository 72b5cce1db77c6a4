// The paper's one-dimensional problem: f_T = (x - 1)^2 + lambda x^2, f_V = (x - 0.5)^2. The optimum
// of f_T is x = 1 / (1 + lambda), so the true hypergradient is (lambda - 1) / (lambda + 1)^3 and
// the best lambda is 1.
//
// Metrics: x, lambda, validation_loss.
#ifndef EVOGRAD_WORKER_PROBLEMS_TOY1D_H_
#define EVOGRAD_WORKER_PROBLEMS_TOY1D_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// `spec` is resolved and its problem is toy1d; `device` is "cpu" or "cuda:N".
absl::StatusOr<std::unique_ptr<Problem>> MakeToy1d(const v1::JobSpec& spec,
                                                   const std::string& device,
                                                   const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_TOY1D_H_
