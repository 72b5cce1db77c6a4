#include "worker/problems/registry.h"

#include "absl/status/status.h"
#include "worker/problems/lft.h"
#include "worker/problems/meta_weight_net.h"
#include "worker/problems/metaxl.h"
#include "worker/problems/pretrain.h"
#include "worker/problems/rotation.h"
#include "worker/problems/toy1d.h"

namespace evograd {
namespace {

using Factory = absl::StatusOr<std::unique_ptr<Problem>> (*)(const v1::JobSpec& spec,
                                                             const std::string& device,
                                                             const std::atomic<bool>& cancelled);

constexpr struct {
  v1::Problem::KindCase kind;
  Factory make;
} kProblems[] = {
    {v1::Problem::kToy1D, &MakeToy1d},
    {v1::Problem::kRotation, &MakeRotation},
    {v1::Problem::kMetaWeightNet, &MakeMetaWeightNet},
    {v1::Problem::kMetaxl, &MakeMetaXl},
    {v1::Problem::kLft, &MakeLft},
    {v1::Problem::kPretrain, &MakePretrain},
};

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakeProblem(const v1::JobSpec& spec,
                                                     const std::string& device,
                                                     const std::atomic<bool>& cancelled) {
  for (const auto& problem : kProblems) {
    if (problem.kind == spec.problem().kind_case()) return problem.make(spec, device, cancelled);
  }
  return absl::InvalidArgumentError(
      "problem: names no problem that this worker knows; give the job one, or run workers of the "
      "coordinator's version");
}

}  // namespace evograd
