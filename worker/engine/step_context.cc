#include "worker/engine/step_context.h"

#include <ATen/Functions.h>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"

namespace evograd {
namespace {

// Members count from 0; the others begin beyond any population.
constexpr uint64_t kBaseShards = uint64_t{1} << 32;
constexpr uint64_t kValidationShards = uint64_t{2} << 32;
constexpr uint64_t kEvaluation = uint64_t{3} << 32;

uint64_t LayerSeed(const EngineParts& parts, int64_t step, uint64_t use) {
  return DeriveSeed(parts.spec.seed(), seed_domain::kLayerNoise, step, use);
}

}  // namespace

absl::Status EngineParts::CheckCancelled() const {
  if (!cancelled->load(std::memory_order_relaxed)) return absl::OkStatus();
  return absl::CancelledError("the job was told to stop");
}

uint64_t MemberLayerSeed(const EngineParts& parts, int64_t step, int member) {
  // The common value is that of the base pass, which a shared member comes from.
  if (parts.spec.estimator().common_layer_noise()) return BaseLayerSeed(parts, step, 0);
  return LayerSeed(parts, step, member);
}

uint64_t BaseLayerSeed(const EngineParts& parts, int64_t step, int shard) {
  return LayerSeed(parts, step, kBaseShards + shard);
}

uint64_t ValidationLayerSeed(const EngineParts& parts, int64_t step, int shard) {
  return LayerSeed(parts, step, kValidationShards + shard);
}

uint64_t EvaluationLayerSeed(const EngineParts& parts, int64_t step) {
  return LayerSeed(parts, step, kEvaluation);
}

LeafRange ShardsOf(const EngineParts& parts, const Exchange& exchange) {
  if (ShardsAreReplicated(parts)) return {0, 1};
  return SliceOf(parts.shards(), exchange.rank(), exchange.size());
}

absl::StatusOr<Batch> ShardOf(const EngineParts& parts, const Batch& batch, int shard) {
  if (parts.shards() == 1) return batch;
  return parts.problem->Shard(batch, shard, parts.shards());
}

absl::Status Located(const EngineParts& parts, int64_t step, const std::string& where,
                     const absl::Status& status) {
  if (status.ok()) return status;
  std::string message = absl::StrCat("step ", step, ": ", where, ": ", status.message());
  if (status.code() == absl::StatusCode::kOutOfRange) {
    const absl::Status theta = parts.state->CheckFinite(parts.state->working(), "theta");
    absl::StrAppend(&message, "; ",
                    theta.ok() ? "its parameters are finite" : std::string(theta.message()));
  }
  absl::Status located(status.code(), message);
  // Such as the ranks that it suspects.
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    located.SetPayload(type, payload);
  });
  return located;
}

std::vector<double> ToDoubles(const at::Tensor& values) {
  const at::Tensor host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* const numbers = static_cast<const double*>(host.const_data_ptr());
  return std::vector<double>(numbers, numbers + host.numel());
}

}  // namespace evograd
