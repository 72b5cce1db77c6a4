#include "worker/engine/flat_state.h"

#include <ATen/Functions.h>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace evograd {

FlatState::FlatState(Problem* problem, at::ScalarType type, const at::Device& device,
                     int optimizer_slots)
    : problem_(problem),
      type_(type),
      device_(device),
      kernels_(problem->parameters(), type, device) {
  const at::TensorOptions options = at::TensorOptions().dtype(type).device(device);
  const int64_t elements = problem->parameters().elements();
  const int64_t buffer_elements = problem->buffers().elements();
  base = at::zeros({elements}, options);
  buffers = at::zeros({buffer_elements}, options);
  for (int i = 0; i < optimizer_slots; ++i) slots.push_back(at::zeros({elements}, options));
  working_ = at::zeros({elements}, options);
  working_buffers_ = at::zeros({buffer_elements}, options);
  update_ = at::zeros({elements + buffer_elements}, options);
  gradient_ = update_.narrow(0, 0, elements);
  next_buffers_ = update_.narrow(0, elements, buffer_elements);
  problem->Bind(working_, working_buffers_);
}

const at::Tensor& FlatState::validation_gradient(bool gradient_must_last) {
  if (!gradient_must_last) return gradient_;
  if (!validation_gradient_.defined()) validation_gradient_ = NewGradient();
  return validation_gradient_;
}

at::Tensor FlatState::NewGradient() const {
  return at::zeros_like(update_).narrow(0, 0, base.numel());
}

void FlatState::RestoreBuffers() {
  if (buffers.numel() > 0) working_buffers_.copy_(buffers);
}

absl::Status FlatState::WriteBase() {
  RestoreBuffers();
  working_.copy_(base);
  return absl::OkStatus();
}

absl::Status FlatState::WriteMember(const Perturbation& perturbation, const MemberNoise& member) {
  if (perturbation.sigma == 0 || member.scale == 0) return WriteBase();
  RestoreBuffers();
  return kernels_.Perturb(perturbation, member, base, working_);
}

absl::Status FlatState::WriteRecombined(const Perturbation& perturbation,
                                        absl::Span<const MemberNoise> members,
                                        absl::Span<const double> weights) {
  RestoreBuffers();
  return kernels_.Recombine(perturbation, members, weights, base, working_);
}

absl::Status FlatState::WriteLookAhead(double learning_rate) {
  RestoreBuffers();
  return kernels_.ScaledAdd(-learning_rate, base, gradient_, working_);
}

int64_t FlatState::bytes() const {
  const int64_t flats = 3 + static_cast<int64_t>(slots.size());
  return flats * base.numel() * static_cast<int64_t>(base.element_size());
}

absl::Status FlatState::CheckFinite(const at::Tensor& flat, const std::string& what) const {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t element, kernels_.FirstNonFinite(flat));
  if (element < 0) return absl::OkStatus();
  std::string name = "padding";
  for (const TensorSlot& slot : problem_->parameters().slots()) {
    if (slot.offset <= element && element < slot.offset + slot.size) {
      name = absl::StrCat(slot.name, "[", element - slot.offset, "]");
    }
  }
  return absl::OutOfRangeError(
      absl::StrCat(what, " is ", flat[element].item<double>(), " at ", name));
}

}  // namespace evograd
