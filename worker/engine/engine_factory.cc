#include <ATen/Parallel.h>

#include <utility>

#include "common/status_macros.h"
#include "worker/engine/engine.h"
#include "worker/engine/hypergradient_dump.h"
#include "worker/engine/numerics.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/registry.h"

namespace evograd {

namespace {

absl::StatusOr<std::unique_ptr<TrainingEngine>> MakeTrainingEngine(const v1::JobSpec& spec,
                                                                   const std::string& job_uid,
                                                                   const EngineOptions& options,
                                                                   const CancelFlag& cancelled) {
  PrepareDevice(options.device);
  // What is made of the data depends on the job alone, and no core's thread is started for it.
  if (spec.threads() > 0) at::set_num_threads(spec.threads());
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Problem> problem,
                           MakeProblem(spec, options.device, cancelled));
  return TrainingEngine::Create(spec, job_uid, options, std::move(problem), cancelled);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const v1::JobSpec& spec,
                                                   const std::string& job_uid,
                                                   const EngineOptions& options,
                                                   const CancelFlag& cancelled) {
  return MakeTrainingEngine(spec, job_uid, options, cancelled);
}

absl::Status WriteHypergradient(const v1::JobSpec& spec, const EngineOptions& options,
                                const std::string& path) {
  const CancelFlag never{false};
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<TrainingEngine> engine,
                           MakeTrainingEngine(spec, /*job_uid=*/"", options, never));
  return DumpHypergradient(*engine, path);
}

}  // namespace evograd
