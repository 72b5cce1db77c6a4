#include "worker/engine/flat_kernels.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "common/status_macros.h"

namespace evograd {
namespace {

ElementRange Whole(const at::Tensor& flat) { return {0, flat.numel()}; }

// Appends the range, joined with the one before it where the two touch.
void AppendRange(int64_t first, int64_t last, std::vector<ElementRange>* ranges) {
  if (!ranges->empty() && ranges->back().first + ranges->back().count == first) {
    ranges->back().count += last - first;
  } else {
    ranges->push_back({first, last - first});
  }
}

}  // namespace

// Short sums in the tensor's own type, added up in double: their error does not grow with the
// tensor.
double SumOfSquares(const at::Tensor& x, const std::vector<ElementRange>& ranges) {
  constexpr int64_t kStretch = 1 << 16;
  std::vector<at::Tensor> sums;
  for (const ElementRange& range : ranges) {
    for (int64_t at = 0; at < range.count; at += kStretch) {
      const at::Tensor part = x.narrow(0, range.first + at, std::min(kStretch, range.count - at));
      sums.push_back(part.dot(part));
    }
  }
  if (sums.empty()) return 0;
  const at::Tensor values = at::stack(sums).to(at::kCPU, at::kDouble);
  const double* const numbers = values.const_data_ptr<double>();
  double sum = 0;
  for (int64_t i = 0; i < values.numel(); ++i) sum += numbers[i];
  return sum;
}

// Calls `function` with a null pointer of the element type.
#define EVOGRAD_DISPATCH(function)                                  \
  (type_ == at::kDouble ? (function)(static_cast<double*>(nullptr)) \
                        : (function)(static_cast<float*>(nullptr)))
// Within such a function: the elements of a tensor.
#define EVOGRAD_DATA(tensor) \
  static_cast<std::remove_pointer_t<decltype(type)>*>((tensor).mutable_data_ptr())

FlatKernels::FlatKernels(const ParameterLayout& layout, at::ScalarType type,
                         const at::Device& device)
    : type_(type) {
  EVOGRAD_CHECK(type == at::kDouble || type == at::kFloat, "float32 and float64 are the types");
  device_.cuda = device.is_cuda();
  device_.device = device.is_cuda() ? device.index() : 0;
  const std::vector<TensorSlot>& slots = layout.slots();
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t last = i + 1 < slots.size() ? slots[i + 1].offset : layout.elements();
    if (slots[i].perturbed) perturbed_elements_ += slots[i].size;
    AppendRange(slots[i].offset, last, slots[i].perturbed ? &perturbed_ : &unperturbed_);
  }
}

absl::Status FlatKernels::Perturb(const Perturbation& perturbation, const MemberNoise& member,
                                  const at::Tensor& base, const at::Tensor& out) const {
  const auto run = [&](auto* type) -> absl::Status {
    for (const ElementRange& range : perturbed_) {
      EVOGRAD_RETURN_IF_ERROR(evograd::Perturb(device_, perturbation, member, range,
                                               EVOGRAD_DATA(base), EVOGRAD_DATA(out)));
    }
    const MemberNoise none{member.key, 0};
    for (const ElementRange& range : unperturbed_) {
      EVOGRAD_RETURN_IF_ERROR(evograd::Perturb(device_, perturbation, none, range,
                                               EVOGRAD_DATA(base), EVOGRAD_DATA(out)));
    }
    return absl::OkStatus();
  };
  return EVOGRAD_DISPATCH(run);
}

absl::Status FlatKernels::Recombine(const Perturbation& perturbation,
                                    absl::Span<const MemberNoise> members,
                                    absl::Span<const double> weights, const at::Tensor& base,
                                    const at::Tensor& out) const {
  const auto run = [&](auto* type) -> absl::Status {
    for (const ElementRange& range : perturbed_) {
      EVOGRAD_RETURN_IF_ERROR(evograd::Recombine(device_, perturbation, members, weights, range,
                                                 EVOGRAD_DATA(base), EVOGRAD_DATA(out)));
    }
    for (const ElementRange& range : unperturbed_) {
      EVOGRAD_RETURN_IF_ERROR(evograd::Perturb(device_, perturbation, MemberNoise{{}, 0}, range,
                                               EVOGRAD_DATA(base), EVOGRAD_DATA(out)));
    }
    return absl::OkStatus();
  };
  return EVOGRAD_DISPATCH(run);
}

absl::StatusOr<std::vector<double>> FlatKernels::NoiseDots(NoiseKind kind,
                                                           absl::Span<const MemberNoise> members,
                                                           const at::Tensor& x) const {
  std::vector<double> sums(members.size());
  std::vector<double> dots(members.size());
  const auto run = [&](auto* type) -> absl::Status {
    for (const ElementRange& range : perturbed_) {
      EVOGRAD_RETURN_IF_ERROR(
          evograd::NoiseDots(device_, kind, members, range, EVOGRAD_DATA(x), absl::MakeSpan(dots)));
      for (size_t k = 0; k < sums.size(); ++k) sums[k] += dots[k];
    }
    return absl::OkStatus();
  };
  EVOGRAD_RETURN_IF_ERROR(EVOGRAD_DISPATCH(run));
  return sums;
}

absl::Status FlatKernels::OptimizerStep(const OptimizerConfig& config, int64_t completed_steps,
                                        const at::Tensor& gradient, const at::Tensor& theta,
                                        const std::vector<at::Tensor>& slots) const {
  const auto run = [&](auto* type) -> absl::Status {
    using T = std::remove_pointer_t<decltype(type)>;
    return evograd::OptimizerStep(device_, MakeOptimizerRule<T>(config, completed_steps),
                                  Whole(theta), EVOGRAD_DATA(gradient), EVOGRAD_DATA(theta),
                                  slots.size() > 0 ? EVOGRAD_DATA(slots[0]) : nullptr,
                                  slots.size() > 1 ? EVOGRAD_DATA(slots[1]) : nullptr);
  };
  return EVOGRAD_DISPATCH(run);
}

absl::Status FlatKernels::Scale(double factor, const at::Tensor& x) const {
  const auto run = [&](auto* type) {
    return evograd::Scale(device_, factor, Whole(x), EVOGRAD_DATA(x), EVOGRAD_DATA(x));
  };
  return EVOGRAD_DISPATCH(run);
}

absl::Status FlatKernels::ScaledAdd(double factor, const at::Tensor& a, const at::Tensor& b,
                                    const at::Tensor& out) const {
  const auto run = [&](auto* type) {
    return evograd::ScaledAdd(device_, factor, Whole(a), EVOGRAD_DATA(a), EVOGRAD_DATA(b),
                              EVOGRAD_DATA(out));
  };
  return EVOGRAD_DISPATCH(run);
}

absl::Status FlatKernels::AddPerturbed(double factor, const at::Tensor& direction,
                                       const at::Tensor& theta) const {
  const auto run = [&](auto* type) -> absl::Status {
    for (const ElementRange& range : perturbed_) {
      EVOGRAD_RETURN_IF_ERROR(evograd::ScaledAdd(device_, factor, range, EVOGRAD_DATA(theta),
                                                 EVOGRAD_DATA(direction), EVOGRAD_DATA(theta)));
    }
    return absl::OkStatus();
  };
  return EVOGRAD_DISPATCH(run);
}

double FlatKernels::SquaredNorm(const at::Tensor& x) const { return SumOfSquares(x, {Whole(x)}); }

double FlatKernels::PerturbedSquaredNorm(const at::Tensor& x) const {
  return SumOfSquares(x, perturbed_);
}

absl::StatusOr<int64_t> FlatKernels::FirstNonFinite(const at::Tensor& x) const {
  const auto run = [&](auto* type) {
    return evograd::FirstNonFinite(device_, Whole(x), EVOGRAD_DATA(x));
  };
  return EVOGRAD_DISPATCH(run);
}

#undef EVOGRAD_DATA
#undef EVOGRAD_DISPATCH

}  // namespace evograd
