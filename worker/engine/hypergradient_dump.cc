#include "worker/engine/hypergradient_dump.h"

#include <ATen/Functions.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/data/safetensors_writer.h"
#include "worker/engine/population.h"
#include "worker/engine/tensor_file.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

absl::Status AddBatch(const std::string& prefix, const absl::StatusOr<Batch>& batch,
                      SafetensorsWriter* writer) {
  EVOGRAD_RETURN_IF_ERROR(batch.status());
  for (size_t i = 0; i < batch->tensors.size(); ++i) {
    EVOGRAD_RETURN_IF_ERROR(AddTensor(absl::StrCat(prefix, i), batch->tensors[i], writer));
  }
  return absl::OkStatus();
}

absl::Status AddState(const std::string& prefix, TrainingEngine& engine,
                      SafetensorsWriter* writer) {
  const EngineParts& parts = engine.parts();
  EVOGRAD_RETURN_IF_ERROR(AddFlat(absl::StrCat(prefix, "parameters."), parts.problem->parameters(),
                                  parts.state->base, writer));
  EVOGRAD_RETURN_IF_ERROR(AddFlat(absl::StrCat(prefix, "buffers."), parts.problem->buffers(),
                                  parts.state->buffers, writer));
  const std::vector<double>& lambda = engine.hyper().values;
  writer->AddDoubles(absl::StrCat(prefix, "lambda"), {static_cast<int64_t>(lambda.size())}, lambda);
  return absl::OkStatus();
}

// epsilon of each member, if there are any.
absl::Status AddNoise(const EngineParts& parts, const EstimateTrace& trace,
                      SafetensorsWriter* writer) {
  if (trace.weights.empty()) return absl::OkStatus();
  v1::Estimator spec = parts.spec.estimator();
  spec.set_sigma(1);
  const Perturbation unit = PerturbationOf(spec);
  const Guide guide = GuideOf(spec, parts.state->kernels(), trace.validation_gradient);
  const at::Tensor zero = at::zeros_like(parts.state->base);
  const at::Tensor noise = at::zeros_like(zero);
  int number = 0;
  for (const MemberNoise& member : PopulationOf(spec, parts.spec.seed(), /*step=*/0)) {
    EVOGRAD_RETURN_IF_ERROR(parts.state->kernels().Perturb(unit, member, zero, noise));
    if (guide.active()) {
      EVOGRAD_RETURN_IF_ERROR(
          parts.state->kernels().AddPerturbed(member.scale * guide.factor, guide.gradient, noise));
    }
    EVOGRAD_RETURN_IF_ERROR(
        AddFlat(absl::StrCat("noise.", number++, "."), parts.problem->parameters(), noise, writer));
  }
  return absl::OkStatus();
}

void AddResult(const v1::StepResult& result, SafetensorsWriter* writer) {
  const v1::StepMetrics& metrics = result.metrics();
  writer->AddDoubles("member_losses", {metrics.member_losses_size()},
                     {metrics.member_losses().begin(), metrics.member_losses().end()});
  writer->AddDoubles("train_loss", {1}, {metrics.train_loss()});
  writer->AddDoubles("validation_loss", {1}, {metrics.validation_loss()});
  writer->AddDoubles("hypergradient", {result.hypergradient_size()},
                     {result.hypergradient().begin(), result.hypergradient().end()});
}

absl::Status AddTrace(const EngineParts& parts, const EstimateTrace& trace,
                      SafetensorsWriter* writer) {
  if (!trace.validation_gradient.defined()) return absl::OkStatus();
  if (!trace.weights.empty()) {
    const std::vector<int64_t> shape = {static_cast<int64_t>(trace.weights.size())};
    writer->AddDoubles("weights", shape, trace.weights);
    writer->AddDoubles("projections", shape, trace.projections);
    writer->AddDoubles("coefficients", shape, trace.coefficients);
  }
  return AddFlat("validation_gradient.", parts.problem->parameters(), trace.validation_gradient,
                 writer);
}

absl::Status Dump(TrainingEngine& engine, const std::string& path) {
  EngineParts& parts = engine.parts();
  SafetensorsWriter writer;
  EVOGRAD_ASSIGN_OR_RETURN(const std::string spec, SpecAsJson(parts.spec));
  writer.AddText("spec", spec);
  writer.AddText("base_first", engine.base_first() ? "true" : "false");
  EVOGRAD_RETURN_IF_ERROR(engine.Initialise());
  EVOGRAD_RETURN_IF_ERROR(AddState("", engine, &writer));
  EVOGRAD_RETURN_IF_ERROR(AddBatch("train.", parts.problem->TrainBatch(0), &writer));
  EVOGRAD_RETURN_IF_ERROR(AddBatch("validation.", parts.problem->ValidationBatch(0), &writer));
  const auto alone = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  EstimateTrace trace;
  parts.trace = &trace;
  const absl::Status status = engine.RunStep(*alone[0]);
  parts.trace = nullptr;
  EVOGRAD_RETURN_IF_ERROR(status);
  AddResult(engine.pending()[0], &writer);
  EVOGRAD_RETURN_IF_ERROR(AddNoise(parts, trace, &writer));
  EVOGRAD_RETURN_IF_ERROR(AddTrace(parts, trace, &writer));
  EVOGRAD_RETURN_IF_ERROR(AddState("next.", engine, &writer));
  return writer.Write(path);
}

}  // namespace

absl::Status DumpHypergradient(TrainingEngine& engine, const std::string& path) {
  return CatchTorch([&] { return Dump(engine, path); });
}

}  // namespace evograd
