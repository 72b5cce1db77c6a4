// Saving, restoring and sending the state.
#include <ATen/Functions.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/worker.pb.h"
#include "worker/engine/checkpoint.h"
#include "worker/engine/state_codec.h"
#include "worker/engine/tensor_file.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

constexpr char kParameters[] = "parameters.";
constexpr char kBuffers[] = "buffers.";

std::string SlotPrefix(size_t slot) { return absl::StrCat("optimizer.", slot, "."); }

// A flat tensor like `like` out of the file's, laid out by `layout`; padding is zero.
absl::StatusOr<at::Tensor> ReadFlat(const SafetensorsReader& reader, const std::string& prefix,
                                    const ParameterLayout& layout, const at::Tensor& like) {
  const at::Tensor flat = at::zeros_like(like);
  for (const TensorSlot& slot : layout.slots()) {
    EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor tensor, reader.Read(absl::StrCat(prefix, slot.name)));
    if (tensor.scalar_type() != flat.scalar_type() || tensor.sizes().vec() != slot.shape) {
      return absl::DataLossError(absl::StrCat(
          "tensor ", prefix, slot.name, " of the job's saved state has another shape or type"));
    }
    flat.narrow(0, slot.offset, slot.size).view(slot.shape).copy_(tensor);
  }
  return flat;
}

absl::Status DamagedResults() {
  return absl::DataLossError("the step results in the job's saved state cannot be read");
}

}  // namespace

std::vector<at::Tensor*> TrainingEngine::StateTensors() const {
  FlatState& state = *parts_.state;
  std::vector<at::Tensor*> tensors = {&state.base, &state.buffers};
  for (at::Tensor& slot : state.slots) tensors.push_back(&slot);
  return tensors;
}

std::string TrainingEngine::EncodeProgress() const {
  StateWriter writer;
  writer.Bytes(job_uid_);
  writer.Number(progress_.phases);
  writer.Bytes(EncodeHyperState(progress_.hyper));
  v1::StepResults pending;
  for (const v1::StepResult& result : progress_.pending) *pending.add_results() = result;
  writer.Bytes(pending.SerializeAsString());
  writer.Bytes(progress_.partial.SerializeAsString());
  // What the tensors that go with it look like.
  writer.Number(static_cast<int64_t>(parts_.state->type()));
  for (const at::Tensor* tensor : StateTensors()) writer.Number(tensor->numel());
  return std::move(writer).Finish();
}

absl::StatusOr<TrainingEngine::Progress> TrainingEngine::DecodeProgress(
    absl::string_view bytes) const {
  EVOGRAD_ASSIGN_OR_RETURN(StateReader reader, StateReader::Open(bytes));
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view uid, reader.Bytes());
  if (uid != job_uid_) {
    return absl::FailedPreconditionError(
        absl::StrCat("the saved state is of job ", uid, " and this is job ", job_uid_));
  }
  Progress progress;
  EVOGRAD_ASSIGN_OR_RETURN(progress.phases, reader.Number());
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view hyper, reader.Bytes());
  EVOGRAD_ASSIGN_OR_RETURN(progress.hyper, DecodeHyperState(hyper));
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view pending_bytes, reader.Bytes());
  v1::StepResults pending;
  if (!pending.ParseFromArray(pending_bytes.data(), pending_bytes.size())) return DamagedResults();
  progress.pending.assign(pending.results().begin(), pending.results().end());
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view partial, reader.Bytes());
  if (!progress.partial.ParseFromArray(partial.data(), partial.size())) return DamagedResults();
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t type, reader.Number());
  bool fits = type == static_cast<int64_t>(parts_.state->type()) &&
              progress.hyper.values.size() == parts_.problem->initial_hyperparameters().size();
  for (const at::Tensor* tensor : StateTensors()) {
    const absl::StatusOr<int64_t> elements = reader.Number();
    fits = fits && elements.ok() && *elements == tensor->numel();
  }
  if (!fits) {
    return absl::FailedPreconditionError(
        "the saved state is of a model with other tensors; the data or the program changed since");
  }
  EVOGRAD_RETURN_IF_ERROR(reader.Close());
  return progress;
}

absl::StatusOr<std::string> TrainingEngine::Serialise() const {
  return CatchTorch([&]() -> absl::StatusOr<std::string> {
    const FlatState& state = *parts_.state;
    const ParameterLayout& parameters = parts_.problem->parameters();
    SafetensorsWriter writer;
    writer.AddText("progress", absl::Base64Escape(EncodeProgress()));
    EVOGRAD_ASSIGN_OR_RETURN(const std::string spec, SpecAsJson(parts_.spec));
    writer.AddText("spec", spec);
    EVOGRAD_RETURN_IF_ERROR(AddFlat(kParameters, parameters, state.base, &writer));
    EVOGRAD_RETURN_IF_ERROR(AddFlat(kBuffers, parts_.problem->buffers(), state.buffers, &writer));
    for (size_t i = 0; i < state.slots.size(); ++i) {
      EVOGRAD_RETURN_IF_ERROR(AddFlat(SlotPrefix(i), parameters, state.slots[i], &writer));
    }
    const std::vector<double>& lambda = progress_.hyper.values;
    writer.AddDoubles("lambda", {static_cast<int64_t>(lambda.size())}, lambda);
    for (const auto& [name, tensor] : parts_.problem->Artifacts()) {
      EVOGRAD_RETURN_IF_ERROR(AddTensor(absl::StrCat("artifacts.", name), tensor, &writer));
    }
    return SealCheckpoint(std::move(writer));
  });
}

absl::Status TrainingEngine::Restore(const std::string& state) {
  return CatchTorch([&]() -> absl::Status {
    EVOGRAD_ASSIGN_OR_RETURN(const SafetensorsReader reader, OpenCheckpoint(state));
    std::string bytes;
    const auto text = reader.metadata().find("progress");
    if (text == reader.metadata().end() || !absl::Base64Unescape(text->second, &bytes)) {
      return absl::DataLossError("the job's saved state does not say how far it is");
    }
    EVOGRAD_ASSIGN_OR_RETURN(Progress progress, DecodeProgress(bytes));
    // All of it is read before anything is taken.
    const ParameterLayout& parameters = parts_.problem->parameters();
    EVOGRAD_ASSIGN_OR_RETURN(at::Tensor base,
                             ReadFlat(reader, kParameters, parameters, parts_.state->base));
    EVOGRAD_ASSIGN_OR_RETURN(
        at::Tensor buffers,
        ReadFlat(reader, kBuffers, parts_.problem->buffers(), parts_.state->buffers));
    std::vector<at::Tensor> slots;
    for (size_t i = 0; i < parts_.state->slots.size(); ++i) {
      EVOGRAD_ASSIGN_OR_RETURN(at::Tensor slot,
                               ReadFlat(reader, SlotPrefix(i), parameters, parts_.state->slots[i]));
      slots.push_back(std::move(slot));
    }
    parts_.state->base = std::move(base);
    parts_.state->buffers = std::move(buffers);
    parts_.state->slots = std::move(slots);
    progress_ = std::move(progress);
    return absl::OkStatus();
  });
}

absl::Status TrainingEngine::Synchronise(Communicator& communicator) {
  return CatchTorch([&]() -> absl::Status {
    EVOGRAD_ASSIGN_OR_RETURN(
        const std::unique_ptr<Exchange> exchange,
        Exchange::Create(&communicator, parts_.state->device(), parts_.state->kernels().device()));
    if (exchange->size() == 1) return absl::OkStatus();
    const bool donor = exchange->rank() == 0;
    std::string bytes = donor ? EncodeProgress() : std::string();
    EVOGRAD_RETURN_IF_ERROR(exchange->Broadcast(&bytes, /*root=*/0));
    Progress progress;
    if (!donor) {
      EVOGRAD_ASSIGN_OR_RETURN(progress, DecodeProgress(bytes));
    }
    // Received beside what is there, which stays whole should the donor be lost meanwhile.
    std::vector<at::Tensor> received;
    for (const at::Tensor* tensor : StateTensors()) {
      received.push_back(donor ? *tensor : at::empty_like(*tensor));
      EVOGRAD_RETURN_IF_ERROR(exchange->Broadcast(received.back(), /*root=*/0));
    }
    if (donor) return absl::OkStatus();
    for (size_t i = 0; i < received.size(); ++i) *StateTensors()[i] = received[i];
    progress_ = std::move(progress);
    return absl::OkStatus();
  });
}

}  // namespace evograd
