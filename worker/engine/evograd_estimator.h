// The factorised EvoGrad estimator (docs/architecture.md, "One meta-step", phases 1 to 4), for the
// populations of EVOGRAD, EVOGRAD_ANTITHETIC and EVOGRAD_SHARED.
#ifndef EVOGRAD_WORKER_ENGINE_EVOGRAD_ESTIMATOR_H_
#define EVOGRAD_WORKER_ENGINE_EVOGRAD_ESTIMATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/estimator.h"

namespace evograd {

class EvogradEstimator : public Estimator {
 public:
  explicit EvogradEstimator(EngineParts* parts);

  bool shares_base_pass() const override { return shared_; }
  absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass* base) override;

 private:
  // One step's population, and what becomes of it.
  struct Step;

  // Before phase 1: what members share, computed at the base point.
  absl::StatusOr<Batch> Prepare(const StepContext& context);
  // Phase 1: the losses of this rank's members.
  absl::StatusOr<std::vector<double>> EvaluateMembers(const StepContext& context, Step* step);
  absl::StatusOr<double> EvaluateMember(const StepContext& context, int member, int members_here,
                                        Step* step);
  // Phase 3: s_k of all members; the validation loss goes to `estimate`.
  absl::StatusOr<std::vector<double>> Project(const StepContext& context, const Step& step,
                                              Estimate* estimate);
  // Phase 4: sum c_k d l_k / d lambda.
  absl::StatusOr<std::vector<double>> Combine(const StepContext& context, const Step& step,
                                              const std::vector<double>& coefficients);
  absl::StatusOr<std::vector<double>> MemberHypergradient(const StepContext& context, int member,
                                                          const Step& step);
  // Whether this rank keeps its members' graphs; true while their size is not known, for the first
  // one is measured.
  bool Retains(int members_here) const;

  EngineParts& parts_;
  const bool shared_;
  // Bytes that one retained member keeps alive; negative before it was measured.
  int64_t member_bytes_ = -1;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_EVOGRAD_ESTIMATOR_H_
