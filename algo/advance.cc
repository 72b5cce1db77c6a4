#include "algo/advance.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/status_macros.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "numbers are hashed and written as they lie in memory, which must be little-endian"
#endif

namespace evograd {
namespace {

constexpr char kMagic[4] = {'E', 'G', 'H', 'S'};
constexpr uint32_t kVersion = 1;
constexpr size_t kDigestBytes = sizeof(uint64_t);

template <typename T>
void Append(const T& value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendBody(const HyperState& state, std::string* out) {
  Append(state.step, out);
  for (const auto* array : {&state.values, &state.first_moment, &state.second_moment}) {
    Append(uint64_t{array->size()}, out);
  }
  for (const auto* array : {&state.values, &state.first_moment, &state.second_moment}) {
    out->append(reinterpret_cast<const char*>(array->data()), array->size() * sizeof(double));
  }
}

uint64_t DigestOf(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Digest64();
}

// Takes from the front of `bytes`; false when there are too few.
template <typename T>
bool Take(absl::string_view* bytes, T* value) {
  if (bytes->size() < sizeof(T)) return false;
  std::memcpy(value, bytes->data(), sizeof(T));
  bytes->remove_prefix(sizeof(T));
  return true;
}

bool TakeArray(absl::string_view* bytes, uint64_t count, std::vector<double>* array) {
  if (count > bytes->size() / sizeof(double)) return false;
  array->resize(count);
  if (count > 0) std::memcpy(array->data(), bytes->data(), count * sizeof(double));
  bytes->remove_prefix(count * sizeof(double));
  return true;
}

absl::Status Damaged(absl::string_view how) {
  return absl::DataLossError(absl::StrCat("The encoded hyperparameter state is damaged: ", how,
                                          "; take it from another copy."));
}

absl::Status CheckSizes(const OptimizerConfig& config, absl::Span<const double> hypergradient,
                        const HyperState& state) {
  if (hypergradient.size() != state.values.size()) {
    return absl::InvalidArgumentError(absl::StrCat("The hypergradient has ", hypergradient.size(),
                                                   " numbers; there are ", state.values.size(),
                                                   " hyperparameters."));
  }
  const int slots = OptimizerSlots(config);
  const size_t first = slots >= 1 ? state.values.size() : 0;
  const size_t second = slots >= 2 ? state.values.size() : 0;
  if (state.first_moment.size() != first || state.second_moment.size() != second) {
    return absl::InvalidArgumentError(
        absl::StrCat("The hyperparameter state has slots of ", state.first_moment.size(), " and ",
                     state.second_moment.size(), " numbers; the meta-optimiser needs ", first,
                     " and ", second, ": the state is of a job with another meta-optimiser."));
  }
  for (size_t i = 0; i < hypergradient.size(); ++i) {
    if (!std::isfinite(hypergradient[i])) {
      return absl::OutOfRangeError(absl::StrCat("The hypergradient of hyperparameter ", i,
                                                " at step ", state.step, " is ", hypergradient[i],
                                                "."));
    }
  }
  return absl::OkStatus();
}

}  // namespace

HyperState InitialHyperState(std::vector<double> values, const OptimizerConfig& config) {
  HyperState state;
  const int slots = OptimizerSlots(config);
  if (slots >= 1) state.first_moment.assign(values.size(), 0.0);
  if (slots >= 2) state.second_moment.assign(values.size(), 0.0);
  state.values = std::move(values);
  return state;
}

double Norm(absl::Span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

absl::Status Advance(const OptimizerConfig& config, absl::Span<const double> hypergradient,
                     HyperState* state) {
  EVOGRAD_RETURN_IF_ERROR(CheckSizes(config, hypergradient, *state));
  const OptimizerRule<double> rule = MakeOptimizerRule<double>(config, state->step);
  HyperState next = *state;
  double* first = next.first_moment.empty() ? nullptr : next.first_moment.data();
  double* second = next.second_moment.empty() ? nullptr : next.second_moment.data();
  const double clip = ClipFactor(Norm(hypergradient), config.max_gradient_norm);
  for (size_t i = 0; i < hypergradient.size(); ++i) {
    UpdateElement(rule, clip * hypergradient[i], &next.values[i],
                  first == nullptr ? nullptr : first + i, second == nullptr ? nullptr : second + i);
    const double moments = (first == nullptr ? 0 : first[i]) + (second == nullptr ? 0 : second[i]);
    if (!std::isfinite(next.values[i]) || !std::isfinite(moments)) {
      return absl::OutOfRangeError(absl::StrCat(
          "Hyperparameter ", i, " becomes ", next.values[i], " with moments of sum ", moments,
          " at step ", state->step, " (its hypergradient is ", hypergradient[i],
          "); a smaller learning rate of the meta-optimiser may help."));
    }
  }
  ++next.step;
  *state = std::move(next);
  return absl::OkStatus();
}

uint64_t Checksum(const HyperState& state) {
  std::string body;
  AppendBody(state, &body);
  return DigestOf(body);
}

std::string EncodeHyperState(const HyperState& state) {
  std::string bytes(kMagic, sizeof(kMagic));
  Append(kVersion, &bytes);
  AppendBody(state, &bytes);
  Append(DigestOf(bytes), &bytes);
  return bytes;
}

absl::StatusOr<HyperState> DecodeHyperState(absl::string_view bytes) {
  if (bytes.size() < sizeof(kMagic) + sizeof(kVersion) + kDigestBytes) {
    return Damaged(absl::StrCat("it has only ", bytes.size(), " bytes"));
  }
  if (std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    return Damaged("it does not begin with EGHS");
  }
  // The digest ends the bytes in every version, so damage is told from another version.
  absl::string_view digest_bytes = bytes.substr(bytes.size() - kDigestBytes);
  bytes.remove_suffix(kDigestBytes);
  uint64_t digest = 0;
  Take(&digest_bytes, &digest);
  if (digest != DigestOf(bytes)) return Damaged("its SHA-256 does not fit");
  bytes.remove_prefix(sizeof(kMagic));
  uint32_t version = 0;
  Take(&bytes, &version);
  if (version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("The encoded hyperparameter state has version ", version,
                     "; this program reads version ", kVersion, "."));
  }
  HyperState state;
  uint64_t sizes[3];
  if (!Take(&bytes, &state.step) || !Take(&bytes, &sizes[0]) || !Take(&bytes, &sizes[1]) ||
      !Take(&bytes, &sizes[2]) || !TakeArray(&bytes, sizes[0], &state.values) ||
      !TakeArray(&bytes, sizes[1], &state.first_moment) ||
      !TakeArray(&bytes, sizes[2], &state.second_moment) || !bytes.empty()) {
    return Damaged("its lengths do not fit");
  }
  return state;
}

}  // namespace evograd
