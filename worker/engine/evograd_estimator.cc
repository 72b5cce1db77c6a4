#include "worker/engine/evograd_estimator.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "algo/fitness.h"
#include "common/status_macros.h"
#include "worker/engine/layer_noise.h"
#include "worker/engine/memory_meter.h"
#include "worker/engine/passes.h"
#include "worker/engine/population.h"

namespace evograd {
namespace {

// Graphs are kept when those of all members together are small against what training holds anyway:
// an eighth of base, working, gradient and slots, so that memory stays close to plain training. A
// quarter of a MiB is nothing on any machine.
constexpr int64_t kRetainedShare = 8;
constexpr int64_t kAlwaysRetainedBytes = 256 << 10;

std::string MemberName(int member) { return absl::StrCat("member ", member); }

}  // namespace

struct EvogradEstimator::Step {
  std::vector<MemberNoise> members;
  Perturbation perturbation;
  // Members from `first` on are dealt to the ranks: leaf i of their tree is member first + i.
  int first = 0;
  LeafRange slice;
  Batch batch;  // prepared
  Guide guide;
  // This rank's, where they are kept; null otherwise.
  std::vector<std::unique_ptr<RetainedMember>> retained;
  std::vector<double> weights;

  int leaves() const { return static_cast<int>(members.size()) - first; }
};

EvogradEstimator::EvogradEstimator(EngineParts* parts, BasePassRunner* base_pass)
    : parts_(*parts),
      base_pass_(*base_pass),
      shared_(parts->spec.estimator().kind() == v1::Estimator::EVOGRAD_SHARED) {}

bool EvogradEstimator::shares_base_pass() const {
  // With the base step first, its gradient makes the look-ahead point too.
  return shared_ || (parts_.base_first && parts_.spec.estimator().gradient_at() == v1::LOOK_AHEAD);
}

absl::StatusOr<Estimate> EvogradEstimator::Compute(const StepContext& context,
                                                   const BasePass* base) {
  EVOGRAD_CHECK(shares_base_pass() == (base != nullptr),
                "the base pass is given where it is shared");
  const v1::Estimator& spec = parts_.spec.estimator();
  const bool guided = spec.guidance() > 0;
  Step step;
  step.members = PopulationOf(spec, parts_.spec.seed(), context.step);
  step.perturbation = PerturbationOf(spec);
  step.first = shared_ ? 1 : 0;
  step.slice = SliceOf(step.leaves(), context.exchange->rank(), context.exchange->size());
  step.retained.resize(step.members.size());

  Estimate estimate;
  if (guided) EVOGRAD_RETURN_IF_ERROR(FindGuide(context, base, &step, &estimate));
  EVOGRAD_ASSIGN_OR_RETURN(step.batch, PrepareMembers(parts_, context));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<double> mine, EvaluateMembers(context, &step));
  EVOGRAD_ASSIGN_OR_RETURN(estimate.member_losses,
                           context.exchange->AllGather(step.leaves(), mine));
  if (shared_) estimate.member_losses.insert(estimate.member_losses.begin(), base->loss);
  absl::StatusOr<std::vector<double>> weights = FitnessWeights(estimate.member_losses, spec.tau());
  if (!weights.ok()) return Located(parts_, context.step, "population", weights.status());
  step.weights = *std::move(weights);
  estimate.weights_entropy = FitnessEntropy(step.weights);

  std::vector<double> projections;
  if (guided) {
    EVOGRAD_ASSIGN_OR_RETURN(projections, ProjectGuided(step));
  } else {
    EVOGRAD_RETURN_IF_ERROR(BindValidationPoint(context, step, base));
    EVOGRAD_ASSIGN_OR_RETURN(projections, Project(context, step, &estimate));
  }
  const std::vector<double> coefficients =
      HypergradientCoefficients(step.weights, projections, spec.tau());
  if (parts_.trace != nullptr) {
    parts_.trace->weights = step.weights;
    parts_.trace->projections = projections;
    parts_.trace->coefficients = coefficients;
  }
  EVOGRAD_ASSIGN_OR_RETURN(estimate.hypergradient, Combine(context, step, coefficients));
  const double unit = Unit(context);
  for (size_t i = 0; i < estimate.hypergradient.size(); ++i) {
    double& value = estimate.hypergradient[i];
    if (shared_) value += coefficients[0] * base->hypergradient[i];
    value *= unit;
  }
  return estimate;
}

absl::Status EvogradEstimator::BindValidationPoint(const StepContext& context, const Step& step,
                                                   const BasePass* base) {
  switch (parts_.spec.estimator().gradient_at()) {
    case v1::BASE:
      return parts_.state->WriteBase();
    case v1::LOOK_AHEAD:
      return BindLookAhead(parts_, base_pass_, context, base);
    default:
      return parts_.state->WriteRecombined(step.perturbation, step.members, step.weights);
  }
}

absl::Status EvogradEstimator::FindGuide(const StepContext& context, const BasePass* base,
                                         Step* step, Estimate* estimate) {
  EVOGRAD_RETURN_IF_ERROR(BindValidationPoint(context, *step, base));
  const at::Tensor gradient =
      parts_.state->validation_gradient(/*gradient_must_last=*/base != nullptr);
  EVOGRAD_ASSIGN_OR_RETURN(estimate->validation_loss,
                           ValidationPass(parts_, base_pass_, context, gradient));
  step->guide = GuideOf(parts_.spec.estimator(), parts_.state->kernels(), gradient);
  return absl::OkStatus();
}

absl::Status EvogradEstimator::WriteMember(const Step& step, int member) {
  const MemberNoise& noise = step.members[member];
  EVOGRAD_RETURN_IF_ERROR(parts_.state->WriteMember(step.perturbation, noise));
  if (!step.guide.active() || noise.scale == 0) return absl::OkStatus();
  return parts_.state->kernels().AddPerturbed(noise.scale * step.guide.factor, step.guide.gradient,
                                              parts_.state->working());
}

absl::StatusOr<std::vector<double>> EvogradEstimator::ProjectGuided(const Step& step) {
  std::vector<double> projections(step.members.size());
  if (step.perturbation.sigma > 0) {
    EVOGRAD_ASSIGN_OR_RETURN(projections,
                             parts_.state->kernels().NoiseDots(step.perturbation.kind, step.members,
                                                               step.guide.gradient));
  }
  for (size_t k = 0; k < projections.size(); ++k) {
    projections[k] = step.perturbation.sigma * projections[k] +
                     step.members[k].scale * step.guide.factor * step.guide.norm * step.guide.norm;
  }
  return projections;
}

double EvogradEstimator::Unit(const StepContext& context) const {
  const v1::Estimator& spec = parts_.spec.estimator();
  if (!spec.calibrated()) return 1;
  const double variance = spec.sigma() * spec.sigma() *
                          GuidedVariance(spec, parts_.state->kernels().perturbed_elements());
  return spec.tau() * InnerLearningRate(parts_, context.step) / variance;
}

bool EvogradEstimator::Retains(int members_here) const {
  switch (parts_.spec.estimator().member_graph()) {
    case v1::RETAIN:
      return true;
    case v1::RECOMPUTE:
      return false;
    default:
      break;
  }
  const int64_t room = std::max(parts_.state->bytes() / kRetainedShare, kAlwaysRetainedBytes);
  return member_bytes_ < 0 || members_here * member_bytes_ <= room;
}

absl::StatusOr<std::vector<double>> EvogradEstimator::EvaluateMembers(const StepContext& context,
                                                                      Step* step) {
  std::vector<double> losses;
  for (int leaf = step->slice.first; leaf < step->slice.last; ++leaf) {
    const int member = step->first + leaf;
    EVOGRAD_RETURN_IF_ERROR(parts_.CheckCancelled());
    EVOGRAD_RETURN_IF_ERROR(WriteMember(*step, member));
    absl::StatusOr<double> loss = EvaluateMember(context, member, step->slice.count(), step);
    if (!loss.ok()) return Located(parts_, context.step, MemberName(member), loss.status());
    losses.push_back(*loss);
  }
  return losses;
}

absl::StatusOr<double> EvogradEstimator::EvaluateMember(const StepContext& context, int member,
                                                        int members_here, Step* step) {
  const LayerNoise noise(parts_.state->device(), MemberLayerSeed(parts_, context.step, member));
  if (!Retains(members_here)) return parts_.problem->MemberLoss(step->batch, context.lambda);
  std::unique_ptr<RetainedMember>& retained = step->retained[member];
  if (member_bytes_ >= 0) {
    EVOGRAD_ASSIGN_OR_RETURN(retained, parts_.problem->RetainMember(step->batch, context.lambda));
    return retained->loss();
  }
  const MemoryMeter meter;
  EVOGRAD_ASSIGN_OR_RETURN(retained, parts_.problem->RetainMember(step->batch, context.lambda));
  member_bytes_ = meter.live_bytes();
  const double loss = retained->loss();
  if (!Retains(members_here)) retained.reset();
  return loss;
}

absl::StatusOr<std::vector<double>> EvogradEstimator::Project(const StepContext& context,
                                                              const Step& step,
                                                              Estimate* estimate) {
  const at::Tensor gradient =
      parts_.state->validation_gradient(/*gradient_must_last=*/shares_base_pass());
  DoubleSum sum(context.exchange, parts_.shards(), 1 + step.members.size(),
                ShardsAreReplicated(parts_));
  for (int shard = sum.slice().first; shard < sum.slice().last; ++shard) {
    EVOGRAD_ASSIGN_OR_RETURN(const double loss, ValidationShard(parts_, context, shard, gradient));
    if (parts_.trace != nullptr) {
      at::Tensor& total = parts_.trace->validation_gradient;
      const at::Tensor share = gradient.div(parts_.shards());
      total = total.defined() ? total.add(share) : share;
    }
    EVOGRAD_ASSIGN_OR_RETURN(
        std::vector<double> leaf,
        parts_.state->kernels().NoiseDots(step.perturbation.kind, step.members, gradient));
    leaf.insert(leaf.begin(), loss);
    EVOGRAD_RETURN_IF_ERROR(sum.Add(leaf));
  }
  EVOGRAD_ASSIGN_OR_RETURN(std::vector<double> totals, sum.AllReduce());
  for (double& total : totals) total /= parts_.shards();
  estimate->validation_loss = totals[0];
  std::vector<double> projections(totals.begin() + 1, totals.end());
  for (double& projection : projections) projection *= step.perturbation.sigma;
  return projections;
}

absl::StatusOr<std::vector<double>> EvogradEstimator::MemberHypergradient(
    const StepContext& context, int member, const Step& step) {
  const std::unique_ptr<RetainedMember>& retained = step.retained[member];
  if (retained != nullptr) {
    EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor gradient, retained->Hypergradient());
    return ToDoubles(gradient);
  }
  const LayerNoise noise(parts_.state->device(), MemberLayerSeed(parts_, context.step, member));
  EVOGRAD_ASSIGN_OR_RETURN(const LossAndGradient result,
                           parts_.problem->MemberGradient(step.batch, context.lambda));
  return ToDoubles(result.hypergradient);
}

absl::StatusOr<std::vector<double>> EvogradEstimator::Combine(
    const StepContext& context, const Step& step, const std::vector<double>& coefficients) {
  DoubleSum sum(context.exchange, step.leaves(), context.lambda.numel());
  for (int leaf = sum.slice().first; leaf < sum.slice().last; ++leaf) {
    const int member = step.first + leaf;
    EVOGRAD_RETURN_IF_ERROR(parts_.CheckCancelled());
    // A retained graph refers to the member's parameters too.
    EVOGRAD_RETURN_IF_ERROR(WriteMember(step, member));
    absl::StatusOr<std::vector<double>> gradient = MemberHypergradient(context, member, step);
    if (!gradient.ok()) return Located(parts_, context.step, MemberName(member), gradient.status());
    for (double& value : *gradient) value *= coefficients[member];
    EVOGRAD_RETURN_IF_ERROR(sum.Add(*gradient));
  }
  return sum.AllReduce();
}

}  // namespace evograd
