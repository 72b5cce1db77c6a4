// Saving, restoring and sending the state.
#include <ATen/Functions.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/engine/state_codec.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

absl::string_view BytesOf(const at::Tensor& host) {
  return {static_cast<const char*>(host.const_data_ptr()), host.nbytes()};
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
    size_t size = 0;
    for (const at::Tensor* tensor : StateTensors()) size += tensor->nbytes();
    StateWriter writer(size + (size_t{1} << 16));
    writer.Bytes(EncodeProgress());
    for (const at::Tensor* tensor : StateTensors()) writer.Bytes(BytesOf(tensor->cpu()));
    return std::move(writer).Finish();
  });
}

absl::Status TrainingEngine::Restore(const std::string& state) {
  return CatchTorch([&]() -> absl::Status {
    EVOGRAD_ASSIGN_OR_RETURN(StateReader reader, StateReader::Open(state));
    EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view bytes, reader.Bytes());
    EVOGRAD_ASSIGN_OR_RETURN(Progress progress, DecodeProgress(bytes));
    // All of it is looked at before anything is taken.
    std::vector<absl::string_view> contents;
    for (const at::Tensor* tensor : StateTensors()) {
      EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view content, reader.Bytes());
      if (content.size() != tensor->nbytes()) {
        return absl::DataLossError("a tensor in the job's saved state has a wrong length");
      }
      contents.push_back(content);
    }
    EVOGRAD_RETURN_IF_ERROR(reader.Close());
    std::vector<at::Tensor> fresh;
    for (size_t i = 0; i < contents.size(); ++i) {
      fresh.push_back(at::empty_like(*StateTensors()[i]));
      // Through bytes: the content need not be aligned for its type.
      fresh.back().view(at::kByte).copy_(at::from_blob(const_cast<char*>(contents[i].data()),
                                                       {static_cast<int64_t>(contents[i].size())},
                                                       at::TensorOptions().dtype(at::kByte)));
    }
    for (size_t i = 0; i < fresh.size(); ++i) *StateTensors()[i] = fresh[i];
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
