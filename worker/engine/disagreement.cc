#include "worker/engine/disagreement.h"

#include "absl/strings/cord.h"

namespace evograd {
namespace {

constexpr char kPayload[] = "evograd/ranks_disagree";

}  // namespace

absl::Status RanksDisagreeError(const std::string& message) {
  absl::Status status = absl::DataLossError(message);
  status.SetPayload(kPayload, absl::Cord());
  return status;
}

bool RanksDisagree(const absl::Status& status) { return status.GetPayload(kPayload).has_value(); }

}  // namespace evograd
