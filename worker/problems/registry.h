// The problems that a worker knows. A new one adds a case to JobSpec's Problem, a factory of its
// own, and a line to the table in registry.cc.
#ifndef EVOGRAD_WORKER_PROBLEMS_REGISTRY_H_
#define EVOGRAD_WORKER_PROBLEMS_REGISTRY_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// The problem of a resolved spec, with its data read; `device` is "cpu" or "cuda:N". It answers
// CANCELLED, now and in Evaluate, once `cancelled` is true; that flag outlives it. Errors:
// INVALID_ARGUMENT for a problem that this worker does not know; else those of the problem's own
// factory.
absl::StatusOr<std::unique_ptr<Problem>> MakeProblem(const v1::JobSpec& spec,
                                                     const std::string& device,
                                                     const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_REGISTRY_H_
