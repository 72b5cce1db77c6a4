// The factorised EvoGrad estimator (docs/architecture.md, "One meta-step", phases 1 to 4): the
// whole family of populations (EVOGRAD, _ANTITHETIC, _SHARED, _GUIDED), of guidance (worker/engine/
// population.h) and of points where g_V is taken. Guided members need g_V first: the validation
// phase then comes before the others, and sums the gradient itself where it is sharded.
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
  EvogradEstimator(EngineParts* parts, BasePassRunner* base_pass);

  bool shares_base_pass() const override;
  bool wants_base_hypergradient() const override { return shared_; }
  absl::StatusOr<Estimate> Compute(const StepContext& context, const BasePass* base) override;

 private:
  // One step's population, and what becomes of it.
  struct Step;

  // Binds the point where the job wants g_V; the weights are known where it is the recombined one.
  absl::Status BindValidationPoint(const StepContext& context, const Step& step,
                                   const BasePass* base);
  // g_V before there are members.
  absl::Status FindGuide(const StepContext& context, const BasePass* base, Step* step,
                         Estimate* estimate);
  absl::Status WriteMember(const Step& step, int member);
  // Phase 1: the losses of this rank's members.
  absl::StatusOr<std::vector<double>> EvaluateMembers(const StepContext& context, Step* step);
  absl::StatusOr<double> EvaluateMember(const StepContext& context, int member, int members_here,
                                        Step* step);
  // Phase 3: s_k of all members, g_V at the parameters that are bound; the validation loss goes to
  // `estimate`.
  absl::StatusOr<std::vector<double>> Project(const StepContext& context, const Step& step,
                                              Estimate* estimate);
  // The same from the guide, already known.
  absl::StatusOr<std::vector<double>> ProjectGuided(const Step& step);
  // What the hypergradient is multiplied by.
  double Unit(const StepContext& context) const;
  // Phase 4: sum c_k d l_k / d lambda.
  absl::StatusOr<std::vector<double>> Combine(const StepContext& context, const Step& step,
                                              const std::vector<double>& coefficients);
  absl::StatusOr<std::vector<double>> MemberHypergradient(const StepContext& context, int member,
                                                          const Step& step);
  // Whether this rank keeps its members' graphs; true while their size is not known, for the first
  // one is measured.
  bool Retains(int members_here) const;

  EngineParts& parts_;
  BasePassRunner& base_pass_;
  const bool shared_;
  // Bytes that one retained member keeps alive; negative before it was measured.
  int64_t member_bytes_ = -1;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_EVOGRAD_ESTIMATOR_H_
