// The engine of one job over any Problem (engine.h says what it promises).
//
// A step is computed into scratch tensors first; a phase's *commit* is then a handful of local
// operations that cannot fail half-way: the optimiser's kernel over the flat buffer, a swap of
// small host values. That is what makes each phase atomic.
#ifndef EVOGRAD_WORKER_ENGINE_TRAINING_ENGINE_H_
#define EVOGRAD_WORKER_ENGINE_TRAINING_ENGINE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "algo/advance.h"
#include "algo/optimizer.h"
#include "worker/engine/base_pass.h"
#include "worker/engine/engine.h"
#include "worker/engine/estimator.h"
#include "worker/engine/step_context.h"
#include "worker/problems/problem.h"

namespace evograd {

struct Checkpoint;
class SafetensorsWriter;
class StateReader;

class TrainingEngine : public Engine {
 public:
  // `spec` is resolved. INVALID_ARGUMENT when it and the problem do not fit.
  static absl::StatusOr<std::unique_ptr<TrainingEngine>> Create(const v1::JobSpec& spec,
                                                                const std::string& job_uid,
                                                                const EngineOptions& options,
                                                                std::unique_ptr<Problem> problem,
                                                                const CancelFlag& cancelled);

  absl::Status Initialise() override;
  absl::StatusOr<std::string> Serialise() const override;
  absl::Status Restore(const std::string& state) override;
  absl::Status Synchronise(Communicator& communicator) override;
  int64_t phases() const override { return progress_.phases; }
  absl::Status RunStep(Communicator& communicator) override;
  const std::vector<v1::StepResult>& pending() const override { return progress_.pending; }
  void Forget(int64_t committed_steps) override;
  absl::StatusOr<v1::Evaluation> Evaluate() override;
  Fingerprint fingerprint() const override;

  // For the dump of a step.
  EngineParts& parts() { return parts_; }
  const HyperState& hyper() const { return progress_.hyper; }
  bool base_first() const { return parts_.base_first; }

 private:
  // Everything of the state but the flat tensors.
  struct Progress {
    int64_t phases = 0;
    HyperState hyper;
    std::vector<v1::StepResult> pending;
    // Of a step between its two phases: what the first one found.
    v1::StepResult partial;
  };

  TrainingEngine(EngineParts parts, const std::string& job_uid);

  // LibTorch's settings that results depend on; they are the process's or the thread's.
  void ConfigureTorch() const;

  absl::Status RunRestOfStep(Communicator& communicator);
  absl::Status RunPhases(StepContext* context, v1::StepResult* result);
  // Where a comparison of the ranks is due after the steps made so far. DATA_LOSS where they
  // differ: no rank's state is known to be good then.
  absl::Status CheckAgreement(Exchange* exchange) const;
  // Batches; at a step's first phase also the optimal parameters where the problem has them and an
  // evaluation where it is due.
  absl::StatusOr<StepContext> BeginStep(Exchange* exchange, v1::StepResult* result);
  absl::Status BeginResult(Exchange* exchange, v1::StepResult* result);
  absl::Status EvaluateForAll(Exchange* exchange, v1::StepResult* result);
  using Evaluator = absl::StatusOr<ProblemEvaluation> (Problem::*)(const at::Tensor& lambda);
  absl::StatusOr<v1::Evaluation> EvaluateBy(Evaluator evaluator);
  // Each computes, then commits.
  absl::Status RunSharedStep(const StepContext& context, v1::StepResult* result);
  absl::Status RunBasePhase(const StepContext& context, v1::StepResult* result);
  absl::Status RunHyperPhase(const StepContext& context, v1::StepResult* result);

  // l_T at the base point, in a step that leaves theta out.
  absl::StatusOr<double> BaseLoss(const StepContext& context);
  // theta by the base optimiser, buffers by the pass.
  absl::Status CommitBase();
  // `result` with the estimate's figures and what `Advance` makes of it, in `next`.
  absl::Status AdvanceHyper(const Estimate& estimate, HyperState* next, v1::StepResult* result);
  // Counts phases that were just made and takes `result`; the last one of a step completes it.
  // Allocates nothing that is not there.
  void CommitPhases(int count, const StepContext& context, v1::StepResult* result);

  at::Tensor LambdaTensor() const;

  // The state but what grows with it: whose it is, how far, and what the rest looks like. Decoding
  // writes the numbers into `progress` and answers in how many pieces the results come.
  std::string EncodeHead() const;
  absl::StatusOr<int64_t> DecodeHead(absl::string_view bytes, Progress* progress) const;
  absl::StatusOr<Progress> DecodeVersion2(absl::string_view bytes) const;
  // FAILED_PRECONDITION where a saved state is not of this job or model.
  absl::Status CheckOwnJob(absl::string_view uid) const;
  absl::Status CheckTensors(StateReader* reader) const;
  absl::Status CheckHyper(const HyperState& hyper) const;

  void AddHyper(SafetensorsWriter* writer) const;
  absl::StatusOr<Progress> ReadProgress(const Checkpoint& checkpoint) const;
  // Rank 0's, on every rank; on rank 0 without its pending results.
  absl::StatusOr<Progress> BroadcastProgress(Exchange* exchange) const;
  // base, buffers and slots.
  std::vector<at::Tensor*> StateTensors() const;

  const std::string job_uid_;
  EngineParts parts_;
  const OptimizerConfig base_optimizer_;
  const OptimizerConfig meta_optimizer_;
  BasePassRunner base_pass_;
  const std::unique_ptr<Estimator> estimator_;

  Progress progress_;
  // Whether theta follows from lambda, so that the base step is left out; found out at each step.
  bool theta_is_optimal_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_TRAINING_ENGINE_H_
