// Engines on the conv problem and groups of in-process ranks that run them, for tests.
#ifndef EVOGRAD_WORKER_ENGINE_TESTING_ENGINE_RIG_H_
#define EVOGRAD_WORKER_ENGINE_TESTING_ENGINE_RIG_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/engine/testing/conv_problem.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/problem.h"

namespace evograd {

// Resolved: text of a JobSpec (its problem is left out) over a job of 1000 steps with sigma 0.01
// and Adam for both optimisers. Ends the process where it does not resolve.
v1::JobSpec RigSpec(const std::string& text);

// Over any problem; ends the process where it or the engine cannot be made.
std::unique_ptr<TrainingEngine> MakeEngineOver(absl::StatusOr<std::unique_ptr<Problem>> problem,
                                               const v1::JobSpec& spec,
                                               const std::string& job_uid = "uid");

// Not while another thread steps an engine: a network's constructor draws from LibTorch's default
// generator.
std::unique_ptr<TrainingEngine> MakeRigEngine(const v1::JobSpec& spec,
                                              const ConvProblemOptions& problem = {},
                                              const std::string& job_uid = "uid");

// What two runs must agree on: theta, lambda and every figure of the results but the times.
std::string Digest(const TrainingEngine& engine);

// Runs `body` for each rank on a thread of its own and gives its statuses.
std::vector<absl::Status> RunGroup(
    const std::vector<std::unique_ptr<Communicator>>& group,
    const std::function<absl::Status(int rank, Communicator& communicator)>& body);

std::vector<std::unique_ptr<Communicator>> InProcessGroup(int size);

// An engine for each rank of a group.
using Engines = std::vector<std::unique_ptr<TrainingEngine>>;

// Steps of a job computed from the start by one group. All engines are made before any of them
// runs, as MakeRigEngine asks for.
Engines RunTogether(int ranks, int steps,
                    const std::function<std::unique_ptr<TrainingEngine>()>& make);

// The digest that each of a group's engines has.
std::string CommonDigest(const Engines& engines);

// Of the conv problem's engines, run together.
std::string RunAndDigest(const v1::JobSpec& spec, int ranks, int steps,
                         const ConvProblemOptions& problem = {});

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_TESTING_ENGINE_RIG_H_
