#include "worker/engine/hypergradient_dump.h"

#include <ATen/Functions.h>
#include <google/protobuf/util/json_util.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/data/safetensors_writer.h"
#include "worker/engine/population.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

absl::StatusOr<std::string> TypeName(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return std::string("F32");
    case at::kDouble:
      return std::string("F64");
    case at::kLong:
      return std::string("I64");
    case at::kInt:
      return std::string("I32");
    case at::kByte:
      return std::string("U8");
    case at::kBool:
      return std::string("BOOL");
    default:
      return absl::InternalError(absl::StrCat("a batch holds a tensor of type ",
                                              c10::toString(type),
                                              ", which the file has no name for"));
  }
}

absl::Status AddTensor(const std::string& name, const at::Tensor& tensor,
                       SafetensorsWriter* writer) {
  const at::Tensor host = tensor.detach().cpu().contiguous();
  EVOGRAD_ASSIGN_OR_RETURN(const std::string type, TypeName(host.scalar_type()));
  writer->Add(name, type, host.sizes().vec(),
              {static_cast<const char*>(host.const_data_ptr()), host.nbytes()});
  return absl::OkStatus();
}

absl::Status AddFlat(const std::string& prefix, const ParameterLayout& layout,
                     const at::Tensor& flat, SafetensorsWriter* writer) {
  for (const TensorSlot& slot : layout.slots()) {
    EVOGRAD_RETURN_IF_ERROR(AddTensor(absl::StrCat(prefix, slot.name),
                                      flat.narrow(0, slot.offset, slot.size).view(slot.shape),
                                      writer));
  }
  return absl::OkStatus();
}

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

absl::Status AddNoise(const EngineParts& parts, SafetensorsWriter* writer) {
  const v1::Estimator& spec = parts.spec.estimator();
  if (spec.kind() == v1::Estimator::T1T2 || spec.kind() == v1::Estimator::NONE) {
    return absl::OkStatus();
  }
  Perturbation unit = PerturbationOf(spec);
  unit.sigma = 1;
  const at::Tensor zero = at::zeros_like(parts.state->base);
  const at::Tensor noise = at::zeros_like(zero);
  int number = 0;
  for (const MemberNoise& member : PopulationOf(spec, parts.spec.seed(), /*step=*/0)) {
    EVOGRAD_RETURN_IF_ERROR(parts.state->kernels().Perturb(unit, member, zero, noise));
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
  const std::vector<int64_t> shape = {static_cast<int64_t>(trace.weights.size())};
  writer->AddDoubles("weights", shape, trace.weights);
  writer->AddDoubles("projections", shape, trace.projections);
  writer->AddDoubles("coefficients", shape, trace.coefficients);
  return AddFlat("validation_gradient.", parts.problem->parameters(), trace.validation_gradient,
                 writer);
}

absl::Status Dump(TrainingEngine& engine, const std::string& path) {
  EngineParts& parts = engine.parts();
  SafetensorsWriter writer;
  std::string spec;
  if (!google::protobuf::util::MessageToJsonString(parts.spec, &spec).ok()) {
    return absl::InternalError("the job's spec has no JSON form");
  }
  writer.AddText("spec", spec);
  writer.AddText("base_first", engine.base_first() ? "true" : "false");
  EVOGRAD_RETURN_IF_ERROR(engine.Initialise());
  EVOGRAD_RETURN_IF_ERROR(AddState("", engine, &writer));
  EVOGRAD_RETURN_IF_ERROR(AddBatch("train.", parts.problem->TrainBatch(0), &writer));
  EVOGRAD_RETURN_IF_ERROR(AddBatch("validation.", parts.problem->ValidationBatch(0), &writer));
  EVOGRAD_RETURN_IF_ERROR(AddNoise(parts, &writer));
  const auto alone = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  EstimateTrace trace;
  parts.trace = &trace;
  const absl::Status status = engine.RunStep(*alone[0]);
  parts.trace = nullptr;
  EVOGRAD_RETURN_IF_ERROR(status);
  AddResult(engine.pending()[0], &writer);
  EVOGRAD_RETURN_IF_ERROR(AddTrace(parts, trace, &writer));
  EVOGRAD_RETURN_IF_ERROR(AddState("next.", engine, &writer));
  return writer.Write(path);
}

}  // namespace

absl::Status DumpHypergradient(TrainingEngine& engine, const std::string& path) {
  return CatchTorch([&] { return Dump(engine, path); });
}

}  // namespace evograd
