#include "worker/engine/training_engine.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/limits.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "spec/optimizer.h"
#include "worker/engine/layer_noise.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

at::ScalarType TypeOf(const v1::JobSpec& spec) {
  return spec.data_type() == v1::FLOAT64 ? at::kDouble : at::kFloat;
}

bool BaseFirst(const v1::JobSpec& spec, const Problem& problem) {
  if (spec.step_order() == v1::STEP_ORDER_UNSPECIFIED) return problem.base_first();
  return spec.step_order() == v1::BASE_FIRST;
}

// Makes what the problem wrote into its parameters the base point; not their padding, in which
// members leave noise.
void TakeWorking(const Problem& problem, FlatState* state) {
  for (const TensorSlot& slot : problem.parameters().slots()) {
    state->base.narrow(0, slot.offset, slot.size)
        .copy_(state->working().narrow(0, slot.offset, slot.size));
  }
}

absl::Status CheckFits(const v1::JobSpec& spec, const Problem& problem) {
  const size_t hyperparameters = problem.initial_hyperparameters().size();
  if (hyperparameters > limits::kMaxStreamedHyperparameters) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the problem has ", hyperparameters, " hyperparameters; at most ",
        limits::kMaxStreamedHyperparameters, " can be sent to the coordinator in a step"));
  }
  if (spec.estimator().kind() != v1::Estimator::NONE && spec.estimator().population() < 1) {
    return absl::InvalidArgumentError("estimator.population: is missing; resolve the spec first");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingEngine>> TrainingEngine::Create(
    const v1::JobSpec& spec, const std::string& job_uid, const EngineOptions& options,
    std::unique_ptr<Problem> problem, const CancelFlag& cancelled) {
  EVOGRAD_RETURN_IF_ERROR(CheckFits(spec, *problem));
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<TrainingEngine>> {
    EngineParts parts{spec, std::move(problem), nullptr, &cancelled};
    parts.base_first = BaseFirst(spec, *parts.problem);
    parts.state =
        std::make_unique<FlatState>(parts.problem.get(), TypeOf(spec), at::Device(options.device),
                                    OptimizerSlots(ToOptimizerConfig(spec.base_optimizer())));
    return std::unique_ptr<TrainingEngine>(new TrainingEngine(std::move(parts), job_uid));
  });
}

TrainingEngine::TrainingEngine(EngineParts parts, const std::string& job_uid)
    : job_uid_(job_uid),
      parts_(std::move(parts)),
      base_optimizer_(ToOptimizerConfig(parts_.spec.base_optimizer())),
      meta_optimizer_(ToOptimizerConfig(parts_.spec.meta_optimizer())),
      base_pass_(&parts_),
      estimator_(MakeEstimator(&parts_, &base_pass_)) {}

void TrainingEngine::ConfigureTorch() const {
  // The number of threads changes the order of sums inside a kernel; it is the calling thread's.
  if (at::get_num_threads() != parts_.spec.threads()) at::set_num_threads(parts_.spec.threads());
  static const bool configured = [] {
    at::Context& context = at::globalContext();
    // Where an operation has no deterministic form LibTorch would refuse to run it; whether a
    // problem's are repeatable is for its tests to show.
    context.setDeterministicAlgorithms(/*b=*/true, /*warn_only=*/true);
    context.setDeterministicFillUninitializedMemory(false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    return true;
  }();
  (void)configured;
}

at::Tensor TrainingEngine::LambdaTensor() const {
  const std::vector<double>& values = progress_.hyper.values;
  return at::from_blob(const_cast<double*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::TensorOptions().dtype(at::kDouble))
      .to(at::TensorOptions().dtype(parts_.state->type()).device(parts_.state->device()),
          /*non_blocking=*/false, /*copy=*/true);
}

absl::Status TrainingEngine::Initialise() {
  ConfigureTorch();
  return CatchTorch([&]() -> absl::Status {
    FlatState& state = *parts_.state;
    EVOGRAD_RETURN_IF_ERROR(parts_.problem->Initialise(parts_.spec.seed()));
    TakeWorking(*parts_.problem, &state);
    if (state.buffers.numel() > 0) state.buffers.copy_(state.working_buffers());
    for (const at::Tensor& slot : state.slots) slot.zero_();
    progress_ = Progress();
    progress_.hyper = InitialHyperState(parts_.problem->initial_hyperparameters(), meta_optimizer_);
    return state.CheckFinite(state.base, "the initial theta");
  });
}

absl::Status TrainingEngine::RunStep(Communicator& communicator) {
  return CatchTorch([&] { return RunRestOfStep(communicator); });
}

absl::Status TrainingEngine::RunRestOfStep(Communicator& communicator) {
  ConfigureTorch();
  EVOGRAD_ASSIGN_OR_RETURN(
      const std::unique_ptr<Exchange> exchange,
      Exchange::Create(&communicator, parts_.state->device(), parts_.state->kernels().device()));
  v1::StepResult result = progress_.partial;
  EVOGRAD_ASSIGN_OR_RETURN(StepContext context, BeginStep(exchange.get(), &result));
  progress_.pending.reserve(progress_.pending.size() + 1);
  EVOGRAD_RETURN_IF_ERROR(RunPhases(&context, &result));
  return CheckAgreement(exchange.get());
}

absl::Status TrainingEngine::RunPhases(StepContext* context, v1::StepResult* result) {
  if (estimator_->shares_base_pass()) return RunSharedStep(*context, result);
  const int64_t end = 2 * (context->step + 1);
  while (true) {
    const bool first = progress_.phases % 2 == 0;
    EVOGRAD_RETURN_IF_ERROR(first == parts_.base_first ? RunBasePhase(*context, result)
                                                       : RunHyperPhase(*context, result));
    if (progress_.phases == end) return absl::OkStatus();
    *result = progress_.partial;
    context->lambda = LambdaTensor();
  }
}

absl::StatusOr<StepContext> TrainingEngine::BeginStep(Exchange* exchange, v1::StepResult* result) {
  EVOGRAD_RETURN_IF_ERROR(parts_.CheckCancelled());
  StepContext context;
  context.step = completed_steps();
  context.exchange = exchange;
  context.lambda = LambdaTensor();
  theta_is_optimal_ = parts_.problem->SetOptimalParameters(context.lambda);
  if (progress_.phases % 2 == 0) {
    // A pure function of lambda: should the step fail, the next attempt writes the same. Between
    // the phases theta stays what the first one saw.
    if (theta_is_optimal_) TakeWorking(*parts_.problem, parts_.state.get());
    EVOGRAD_RETURN_IF_ERROR(BeginResult(exchange, result));
  }
  context.start = absl::Now() - absl::Seconds(result->metrics().seconds());
  EVOGRAD_ASSIGN_OR_RETURN(context.train, parts_.problem->TrainBatch(context.step));
  EVOGRAD_ASSIGN_OR_RETURN(context.validation, parts_.problem->ValidationBatch(context.step));
  return context;
}

absl::Status TrainingEngine::BeginResult(Exchange* exchange, v1::StepResult* result) {
  result->set_step(completed_steps());
  result->mutable_metrics()->set_step(completed_steps());
  if (completed_steps() == 0) {
    const std::vector<double>& initial = progress_.hyper.values;
    result->mutable_initial_hyperparameters()->Add(initial.begin(), initial.end());
    if (initial.size() <= limits::kMaxShownHyperparameters) {
      for (const std::string& name : parts_.problem->hyperparameter_names()) {
        result->add_hyperparameter_names(name);
      }
    }
  }
  return EvaluateForAll(exchange, result);
}

absl::Status TrainingEngine::EvaluateForAll(Exchange* exchange, v1::StepResult* result) {
  const int64_t interval = parts_.spec.evaluation_interval_steps();
  if (interval <= 0 || completed_steps() % interval != 0) return absl::OkStatus();
  std::string bytes;
  if (exchange->rank() == 0) {
    EVOGRAD_ASSIGN_OR_RETURN(const v1::Evaluation evaluation,
                             EvaluateBy(&Problem::EvaluateBetweenSteps));
    bytes = evaluation.SerializeAsString();
  }
  EVOGRAD_RETURN_IF_ERROR(exchange->Broadcast(&bytes, /*root=*/0));
  if (!result->mutable_evaluation()->ParseFromString(bytes)) {
    return absl::InternalError("rank 0 sent an evaluation that cannot be read");
  }
  return absl::OkStatus();
}

absl::Status TrainingEngine::RunSharedStep(const StepContext& context, v1::StepResult* result) {
  EVOGRAD_ASSIGN_OR_RETURN(const BasePass base,
                           base_pass_.Run(context, estimator_->wants_base_hypergradient()));
  EVOGRAD_ASSIGN_OR_RETURN(const Estimate estimate, estimator_->Compute(context, &base));
  result->mutable_metrics()->set_train_loss(base.loss);
  HyperState next;
  EVOGRAD_RETURN_IF_ERROR(AdvanceHyper(estimate, &next, result));
  EVOGRAD_RETURN_IF_ERROR(CommitBase());
  progress_.hyper = std::move(next);
  CommitPhases(2, context, result);
  return absl::OkStatus();
}

absl::Status TrainingEngine::RunBasePhase(const StepContext& context, v1::StepResult* result) {
  v1::StepMetrics* metrics = result->mutable_metrics();
  if (theta_is_optimal_) {
    EVOGRAD_ASSIGN_OR_RETURN(const double loss, BaseLoss(context));
    metrics->set_train_loss(loss);
  } else {
    EVOGRAD_ASSIGN_OR_RETURN(const BasePass pass,
                             base_pass_.Run(context, /*with_hypergradient=*/false));
    metrics->set_train_loss(pass.loss);
    EVOGRAD_RETURN_IF_ERROR(CommitBase());
  }
  CommitPhases(1, context, result);
  return absl::OkStatus();
}

absl::Status TrainingEngine::RunHyperPhase(const StepContext& context, v1::StepResult* result) {
  EVOGRAD_ASSIGN_OR_RETURN(const Estimate estimate, estimator_->Compute(context, nullptr));
  HyperState next;
  EVOGRAD_RETURN_IF_ERROR(AdvanceHyper(estimate, &next, result));
  progress_.hyper = std::move(next);
  CommitPhases(1, context, result);
  return absl::OkStatus();
}

absl::StatusOr<double> TrainingEngine::BaseLoss(const StepContext& context) {
  EVOGRAD_RETURN_IF_ERROR(parts_.state->WriteBase());
  const LayerNoise noise(parts_.state->device(), BaseLayerSeed(parts_, context.step, 0));
  const absl::StatusOr<double> loss = parts_.problem->MemberLoss(context.train, context.lambda);
  if (!loss.ok()) return Located(parts_, context.step, "base step", loss.status());
  return loss;
}

absl::Status TrainingEngine::CommitBase() {
  if (theta_is_optimal_) return absl::OkStatus();
  FlatState& state = *parts_.state;
  if (base_optimizer_.max_gradient_norm > 0) {
    const double norm = std::sqrt(state.kernels().SquaredNorm(state.gradient()));
    const double factor = ClipFactor(norm, base_optimizer_.max_gradient_norm);
    if (factor < 1) EVOGRAD_RETURN_IF_ERROR(state.kernels().Scale(factor, state.gradient()));
  }
  EVOGRAD_RETURN_IF_ERROR(state.kernels().OptimizerStep(base_optimizer_, completed_steps(),
                                                        state.gradient(), state.base, state.slots));
  if (state.buffers.numel() > 0) state.buffers.copy_(state.next_buffers());
  return absl::OkStatus();
}

absl::Status TrainingEngine::AdvanceHyper(const Estimate& estimate, HyperState* next,
                                          v1::StepResult* result) {
  *next = progress_.hyper;
  EVOGRAD_RETURN_IF_ERROR(Advance(meta_optimizer_, estimate.hypergradient, next));
  *result->mutable_hypergradient() = {estimate.hypergradient.begin(), estimate.hypergradient.end()};
  result->set_state_checksum(Checksum(*next));
  v1::StepMetrics* metrics = result->mutable_metrics();
  metrics->set_validation_loss(estimate.validation_loss);
  *metrics->mutable_member_losses() = {estimate.member_losses.begin(),
                                       estimate.member_losses.end()};
  metrics->set_weights_entropy(estimate.weights_entropy);
  metrics->set_hypergradient_norm(Norm(estimate.hypergradient));
  if (next->values.size() <= limits::kMaxShownHyperparameters) {
    *metrics->mutable_hyperparameters() = {next->values.begin(), next->values.end()};
  }
  return absl::OkStatus();
}

void TrainingEngine::CommitPhases(int count, const StepContext& context, v1::StepResult* result) {
  result->mutable_metrics()->set_seconds(absl::ToDoubleSeconds(absl::Now() - context.start));
  progress_.phases += count;
  if (progress_.phases % 2 == 0) {
    progress_.partial.Clear();
    progress_.pending.push_back(std::move(*result));
  } else {
    progress_.partial.Swap(result);
  }
}

void TrainingEngine::Forget(int64_t committed_steps) {
  std::vector<v1::StepResult>& pending = progress_.pending;
  size_t keep_from = 0;
  while (keep_from < pending.size() && pending[keep_from].step() < committed_steps) ++keep_from;
  pending.erase(pending.begin(), pending.begin() + keep_from);
}

absl::StatusOr<v1::Evaluation> TrainingEngine::Evaluate() { return EvaluateBy(&Problem::Evaluate); }

absl::StatusOr<v1::Evaluation> TrainingEngine::EvaluateBy(Evaluator evaluator) {
  return CatchTorch([&]() -> absl::StatusOr<v1::Evaluation> {
    ConfigureTorch();
    EVOGRAD_RETURN_IF_ERROR(parts_.state->WriteBase());
    absl::StatusOr<ProblemEvaluation> result;
    {
      const LayerNoise noise(parts_.state->device(),
                             EvaluationLayerSeed(parts_, completed_steps()));
      result = ((*parts_.problem).*evaluator)(LambdaTensor());
    }
    if (!result.ok()) return Located(parts_, completed_steps(), "evaluation", result.status());
    v1::Evaluation evaluation;
    evaluation.set_step(completed_steps());
    evaluation.mutable_metrics()->insert(result->metrics.begin(), result->metrics.end());
    for (const std::string& warning : result->warnings) evaluation.add_warnings(warning);
    return evaluation;
  });
}

Engine::Fingerprint TrainingEngine::fingerprint() const {
  const auto compute = [&]() -> absl::StatusOr<Fingerprint> {
    Sha256 theta;
    const at::Tensor host = parts_.state->base.cpu();
    const char* const bytes = static_cast<const char*>(host.const_data_ptr());
    for (const TensorSlot& slot : parts_.problem->parameters().slots()) {
      theta.Update(bytes + slot.offset * host.element_size(), slot.size * host.element_size());
    }
    Sha256 lambda;
    const std::vector<double>& values = progress_.hyper.values;
    lambda.Update(values.data(), values.size() * sizeof(double));
    return Fingerprint{theta.HexDigest(), lambda.HexDigest()};
  };
  // Only a device that broke down can fail; nothing fits an empty fingerprint.
  return CatchTorch(compute).value_or(Fingerprint());
}

}  // namespace evograd
