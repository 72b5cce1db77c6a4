#include "server/core/hyper_track.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "spec/optimizer.h"

namespace evograd {

HyperTrack::HyperTrack(const v1::JobSpec& spec)
    : config_(ToOptimizerConfig(spec.meta_optimizer())) {}

absl::Status HyperTrack::Decode(absl::string_view encoded) {
  EVOGRAD_ASSIGN_OR_RETURN(state_, DecodeHyperState(encoded));
  recent_.clear();
  return absl::OkStatus();
}

absl::Status HyperTrack::Advance(const v1::StepResult& result) {
  HyperState next = state_;
  if (next.step == 0) {
    const auto& initial = result.initial_hyperparameters();
    next = InitialHyperState({initial.begin(), initial.end()}, config_);
  }
  EVOGRAD_RETURN_IF_ERROR(
      evograd::Advance(config_, absl::MakeConstSpan(result.hypergradient()), &next));
  const uint64_t checksum = Checksum(next);
  if (checksum != result.state_checksum()) {
    return absl::DataLossError(absl::StrCat(
        "the worker's hyperparameters after the step have checksum ",
        absl::Hex(result.state_checksum()), ", those computed from its own hypergradient ",
        absl::Hex(checksum), "; its memory or its program is faulty"));
  }
  state_ = std::move(next);
  recent_.push_back(checksum);
  if (recent_.size() > limits::kMaxRecentChecksums) recent_.pop_front();
  return absl::OkStatus();
}

absl::optional<uint64_t> HyperTrack::RecentChecksum(int64_t step) const {
  const int64_t back = state_.step - step;
  if (back < 1 || back > static_cast<int64_t>(recent_.size())) return absl::nullopt;
  return recent_[recent_.size() - static_cast<size_t>(back)];
}

}  // namespace evograd
