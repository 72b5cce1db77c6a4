#include <cstdlib>
#include <utility>

#include "common/status_macros.h"
#include "worker/engine/engine.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/registry.h"

namespace evograd {

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const v1::JobSpec& spec,
                                                   const std::string& job_uid,
                                                   const EngineOptions& options,
                                                   const CancelFlag& cancelled) {
  // Without it cuBLAS's results depend on what else runs; read when the library starts.
  if (options.device != "cpu") setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Problem> problem,
                           MakeProblem(spec, options.device, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(
      std::unique_ptr<Engine> engine,
      TrainingEngine::Create(spec, job_uid, options, std::move(problem), cancelled));
  return engine;
}

}  // namespace evograd
