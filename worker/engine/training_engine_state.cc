// Saving, restoring and sending the state.
#include <ATen/Functions.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/worker.pb.h"
#include "worker/engine/agreement.h"
#include "worker/engine/checkpoint.h"
#include "worker/engine/state_codec.h"
#include "worker/engine/tensor_file.h"
#include "worker/engine/training_engine.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

constexpr char kParameters[] = "parameters.";
constexpr char kBuffers[] = "buffers.";
constexpr char kLambda[] = "lambda";
constexpr char kFirstMoment[] = "meta_optimizer.0";
constexpr char kSecondMoment[] = "meta_optimizer.1";
constexpr char kPartial[] = "results.partial";
constexpr char kProgress[] = "progress";

std::string SlotPrefix(size_t slot) { return absl::StrCat("optimizer.", slot, "."); }

std::string ResultsName(size_t piece) { return absl::StrCat("results.", piece); }

absl::Status OtherModel() {
  return absl::FailedPreconditionError(
      "the saved state is of a model with other tensors; the data or the program changed since");
}

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

// Results from `begin` on that go together: as many as share a message, at least one.
size_t PieceEnd(const std::vector<v1::StepResult>& results, size_t begin) {
  size_t end = begin + 1;
  size_t bytes = results[begin].ByteSizeLong();
  while (end < results.size() &&
         (bytes += results[end].ByteSizeLong()) <= limits::kMaxResultsBytes) {
    ++end;
  }
  return end;
}

// All results as one message could be larger than protobuf's 2 GiB.
std::vector<std::pair<size_t, size_t>> CutResults(const std::vector<v1::StepResult>& results) {
  std::vector<std::pair<size_t, size_t>> pieces;
  for (size_t begin = 0; begin < results.size(); begin = pieces.back().second) {
    pieces.emplace_back(begin, PieceEnd(results, begin));
  }
  return pieces;
}

std::string EncodeResults(const std::vector<v1::StepResult>& results, size_t begin, size_t end) {
  v1::StepResults message;
  for (size_t i = begin; i < end; ++i) *message.add_results() = results[i];
  return message.SerializeAsString();
}

absl::Status DecodeResults(absl::string_view bytes, std::vector<v1::StepResult>* results) {
  v1::StepResults message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DamagedResults();
  }
  for (v1::StepResult& result : *message.mutable_results()) results->push_back(std::move(result));
  return absl::OkStatus();
}

absl::Status DecodePartial(absl::string_view bytes, v1::StepResult* partial) {
  if (partial->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::OkStatus();
  }
  return DamagedResults();
}

void AddBytes(const std::string& name, const std::string& bytes, SafetensorsWriter* writer) {
  writer->Add(name, "U8", {static_cast<int64_t>(bytes.size())}, bytes);
}

absl::StatusOr<at::Tensor> ReadVector(const SafetensorsReader& reader, const std::string& name,
                                      at::ScalarType type) {
  EVOGRAD_ASSIGN_OR_RETURN(at::Tensor tensor, reader.Read(name));
  if (tensor.scalar_type() == type && tensor.dim() == 1) return tensor;
  return absl::DataLossError(
      absl::StrCat("tensor ", name, " of the job's saved state has another shape or type"));
}

absl::StatusOr<std::string> ReadBytes(const SafetensorsReader& reader, const std::string& name) {
  EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor tensor, ReadVector(reader, name, at::kByte));
  return std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
}

absl::Status ReadDoubles(const SafetensorsReader& reader, const std::string& name,
                         std::vector<double>* values) {
  EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor tensor, ReadVector(reader, name, at::kDouble));
  const double* const data = tensor.const_data_ptr<double>();
  values->assign(data, data + tensor.numel());
  return absl::OkStatus();
}

}  // namespace

std::vector<at::Tensor*> TrainingEngine::StateTensors() const {
  FlatState& state = *parts_.state;
  std::vector<at::Tensor*> tensors = {&state.base, &state.buffers};
  for (at::Tensor& slot : state.slots) tensors.push_back(&slot);
  return tensors;
}

std::string TrainingEngine::EncodeHead() const {
  StateWriter writer;
  writer.Bytes(job_uid_);
  writer.Number(progress_.phases);
  writer.Number(progress_.hyper.step);
  writer.Number(static_cast<int64_t>(CutResults(progress_.pending).size()));
  // What the tensors that go with it look like.
  writer.Number(static_cast<int64_t>(parts_.state->type()));
  for (const at::Tensor* tensor : StateTensors()) writer.Number(tensor->numel());
  return std::move(writer).Finish();
}

absl::Status TrainingEngine::CheckOwnJob(absl::string_view uid) const {
  if (uid == job_uid_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the saved state is of job ", uid, " and this is job ", job_uid_));
}

absl::Status TrainingEngine::CheckTensors(StateReader* reader) const {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t type, reader->Number());
  bool fits = type == static_cast<int64_t>(parts_.state->type());
  for (const at::Tensor* tensor : StateTensors()) {
    const absl::StatusOr<int64_t> elements = reader->Number();
    fits = fits && elements.ok() && *elements == tensor->numel();
  }
  if (fits) return reader->Close();
  return OtherModel();
}

absl::Status TrainingEngine::CheckHyper(const HyperState& hyper) const {
  const HyperState own =
      InitialHyperState(parts_.problem->initial_hyperparameters(), meta_optimizer_);
  if (hyper.values.size() == own.values.size() &&
      hyper.first_moment.size() == own.first_moment.size() &&
      hyper.second_moment.size() == own.second_moment.size()) {
    return absl::OkStatus();
  }
  return OtherModel();
}

absl::StatusOr<int64_t> TrainingEngine::DecodeHead(absl::string_view bytes,
                                                   Progress* progress) const {
  EVOGRAD_ASSIGN_OR_RETURN(StateReader reader, StateReader::Open(bytes));
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view uid, reader.Bytes());
  EVOGRAD_RETURN_IF_ERROR(CheckOwnJob(uid));
  EVOGRAD_ASSIGN_OR_RETURN(progress->phases, reader.Number());
  EVOGRAD_ASSIGN_OR_RETURN(progress->hyper.step, reader.Number());
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t pieces, reader.Number());
  EVOGRAD_RETURN_IF_ERROR(CheckTensors(&reader));
  return pieces;
}

absl::StatusOr<TrainingEngine::Progress> TrainingEngine::DecodeVersion2(
    absl::string_view bytes) const {
  EVOGRAD_ASSIGN_OR_RETURN(StateReader reader, StateReader::Open(bytes));
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view uid, reader.Bytes());
  EVOGRAD_RETURN_IF_ERROR(CheckOwnJob(uid));
  Progress progress;
  EVOGRAD_ASSIGN_OR_RETURN(progress.phases, reader.Number());
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view hyper, reader.Bytes());
  EVOGRAD_ASSIGN_OR_RETURN(progress.hyper, DecodeHyperState(hyper));
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view pending, reader.Bytes());
  EVOGRAD_RETURN_IF_ERROR(DecodeResults(pending, &progress.pending));
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view partial, reader.Bytes());
  EVOGRAD_RETURN_IF_ERROR(DecodePartial(partial, &progress.partial));
  EVOGRAD_RETURN_IF_ERROR(CheckTensors(&reader));
  return progress;
}

void TrainingEngine::AddHyper(SafetensorsWriter* writer) const {
  const auto add = [&](const std::string& name, const std::vector<double>& values) {
    writer->AddDoubles(name, {static_cast<int64_t>(values.size())}, values);
  };
  const int slots = OptimizerSlots(meta_optimizer_);
  add(kLambda, progress_.hyper.values);
  if (slots >= 1) add(kFirstMoment, progress_.hyper.first_moment);
  if (slots >= 2) add(kSecondMoment, progress_.hyper.second_moment);
}

absl::StatusOr<std::string> TrainingEngine::Serialise() const {
  return CatchTorch([&]() -> absl::StatusOr<std::string> {
    const FlatState& state = *parts_.state;
    const ParameterLayout& parameters = parts_.problem->parameters();
    SafetensorsWriter writer;
    writer.AddText(kProgress, absl::Base64Escape(EncodeHead()));
    EVOGRAD_ASSIGN_OR_RETURN(const std::string spec, SpecAsJson(parts_.spec));
    writer.AddText("spec", spec);
    EVOGRAD_RETURN_IF_ERROR(AddFlat(kParameters, parameters, state.base, &writer));
    EVOGRAD_RETURN_IF_ERROR(AddFlat(kBuffers, parts_.problem->buffers(), state.buffers, &writer));
    for (size_t i = 0; i < state.slots.size(); ++i) {
      EVOGRAD_RETURN_IF_ERROR(AddFlat(SlotPrefix(i), parameters, state.slots[i], &writer));
    }
    AddHyper(&writer);
    for (const auto& [name, tensor] : parts_.problem->Artifacts()) {
      EVOGRAD_RETURN_IF_ERROR(AddTensor(absl::StrCat("artifacts.", name), tensor, &writer));
    }
    // Last: their lengths are odd, and numbers before them stay aligned.
    const auto pieces = CutResults(progress_.pending);
    for (size_t i = 0; i < pieces.size(); ++i) {
      AddBytes(ResultsName(i), EncodeResults(progress_.pending, pieces[i].first, pieces[i].second),
               &writer);
    }
    AddBytes(kPartial, progress_.partial.SerializeAsString(), &writer);
    return SealCheckpoint(std::move(writer));
  });
}

absl::StatusOr<TrainingEngine::Progress> TrainingEngine::ReadProgress(
    const Checkpoint& checkpoint) const {
  const SafetensorsReader& reader = checkpoint.reader;
  std::string bytes;
  const auto text = reader.metadata().find(kProgress);
  if (text == reader.metadata().end() || !absl::Base64Unescape(text->second, &bytes)) {
    return absl::DataLossError("the job's saved state does not say how far it is");
  }
  if (checkpoint.version == 2) return DecodeVersion2(bytes);
  Progress progress;
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t pieces, DecodeHead(bytes, &progress));
  HyperState& hyper = progress.hyper;
  const int slots = OptimizerSlots(meta_optimizer_);
  EVOGRAD_RETURN_IF_ERROR(ReadDoubles(reader, kLambda, &hyper.values));
  if (slots >= 1) EVOGRAD_RETURN_IF_ERROR(ReadDoubles(reader, kFirstMoment, &hyper.first_moment));
  if (slots >= 2) EVOGRAD_RETURN_IF_ERROR(ReadDoubles(reader, kSecondMoment, &hyper.second_moment));
  for (int64_t i = 0; i < pieces; ++i) {
    EVOGRAD_ASSIGN_OR_RETURN(const std::string piece, ReadBytes(reader, ResultsName(i)));
    EVOGRAD_RETURN_IF_ERROR(DecodeResults(piece, &progress.pending));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const std::string partial, ReadBytes(reader, kPartial));
  EVOGRAD_RETURN_IF_ERROR(DecodePartial(partial, &progress.partial));
  return progress;
}

absl::Status TrainingEngine::Restore(const std::string& state) {
  return CatchTorch([&]() -> absl::Status {
    EVOGRAD_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(state));
    const SafetensorsReader& reader = checkpoint.reader;
    EVOGRAD_ASSIGN_OR_RETURN(Progress progress, ReadProgress(checkpoint));
    EVOGRAD_RETURN_IF_ERROR(CheckHyper(progress.hyper));
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

absl::StatusOr<TrainingEngine::Progress> TrainingEngine::BroadcastProgress(
    Exchange* exchange) const {
  const bool donor = exchange->rank() == 0;
  // Each of them bounded, whatever lambda and the pipeline are.
  const auto share = [&](std::string bytes) -> absl::StatusOr<std::string> {
    EVOGRAD_RETURN_IF_ERROR(exchange->Broadcast(&bytes, /*root=*/0));
    return bytes;
  };
  Progress progress;
  EVOGRAD_ASSIGN_OR_RETURN(const std::string head, share(donor ? EncodeHead() : ""));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t pieces, DecodeHead(head, &progress));
  EVOGRAD_ASSIGN_OR_RETURN(const std::string hyper,
                           share(donor ? EncodeHyperState(progress_.hyper) : ""));
  EVOGRAD_ASSIGN_OR_RETURN(progress.hyper, DecodeHyperState(hyper));
  EVOGRAD_RETURN_IF_ERROR(CheckHyper(progress.hyper));
  const auto own = CutResults(progress_.pending);
  for (int64_t i = 0; i < pieces; ++i) {
    EVOGRAD_ASSIGN_OR_RETURN(
        const std::string piece,
        share(donor ? EncodeResults(progress_.pending, own[i].first, own[i].second) : ""));
    if (!donor) EVOGRAD_RETURN_IF_ERROR(DecodeResults(piece, &progress.pending));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const std::string partial,
                           share(donor ? progress_.partial.SerializeAsString() : ""));
  EVOGRAD_RETURN_IF_ERROR(DecodePartial(partial, &progress.partial));
  return progress;
}

absl::Status TrainingEngine::Synchronise(Communicator& communicator) {
  return CatchTorch([&]() -> absl::Status {
    EVOGRAD_ASSIGN_OR_RETURN(
        const std::unique_ptr<Exchange> exchange,
        Exchange::Create(&communicator, parts_.state->device(), parts_.state->kernels().device()));
    if (exchange->size() == 1) return absl::OkStatus();
    const bool donor = exchange->rank() == 0;
    EVOGRAD_ASSIGN_OR_RETURN(Progress progress, BroadcastProgress(exchange.get()));
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

absl::Status TrainingEngine::CheckAgreement(Exchange* exchange) const {
  const int64_t done = completed_steps();
  if (exchange->size() == 1) return absl::OkStatus();
  if (!AgreementDue(parts_.spec, parts_.state->device().is_cpu(), done)) return absl::OkStatus();
  StateDigest digest;
  digest.Update(parts_.state->base);
  digest.Update(parts_.state->buffers);
  digest.Update(progress_.hyper.values);
  digest.Update(progress_.hyper.first_moment);
  digest.Update(progress_.hyper.second_moment);
  return CheckRanksAgree(exchange, digest.value(), absl::StrCat("after step ", done));
}

}  // namespace evograd
