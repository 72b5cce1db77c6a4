#include "worker/problems/weight_report.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

constexpr double kNearlyZero = 1e-4;
constexpr double kNearlyEqual = 1e-3;
constexpr double kLossesDiffer = 1e-2;
constexpr double kTooFewEffective = 2;
constexpr int kEnoughExamples = 10;

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments MomentsOf(const std::vector<WeighedExample>& examples, double WeighedExample::* field) {
  Moments moments;
  for (const WeighedExample& example : examples) moments.mean += example.*field;
  moments.mean /= examples.size();
  for (const WeighedExample& example : examples) {
    moments.deviation += (example.*field - moments.mean) * (example.*field - moments.mean);
  }
  moments.deviation = std::sqrt(moments.deviation / examples.size());
  return moments;
}

std::vector<WeighedExample> Part(const std::vector<WeighedExample>& examples, bool noisy) {
  std::vector<WeighedExample> part;
  for (const WeighedExample& example : examples) {
    if (example.noisy == noisy) part.push_back(example);
  }
  return part;
}

// (sum w)^2 / sum w^2; with weights that are all 0 no example counts.
double EffectiveExamples(const std::vector<WeighedExample>& examples) {
  double sum = 0;
  double squares = 0;
  for (const WeighedExample& example : examples) {
    sum += example.weight;
    squares += example.weight * example.weight;
  }
  return squares > 0 ? sum * sum / squares : 0;
}

}  // namespace

void ReportLabels(const std::vector<WeighedExample>& examples, ProblemEvaluation* evaluation) {
  if (examples.empty()) return;
  const std::vector<WeighedExample> noisy = Part(examples, true);
  const double count = examples.size();
  evaluation->metrics["noisy_share"] = noisy.size() / count;
  if (noisy.empty()) return;
  const double learnt =
      std::count_if(noisy.begin(), noisy.end(), [](const WeighedExample& e) { return e.answered; });
  evaluation->metrics["wrong_labels_learnt"] = learnt / noisy.size();
}

void ReportWeights(const std::vector<WeighedExample>& examples, ProblemEvaluation* evaluation) {
  if (examples.empty()) return;
  for (const bool noisy : {false, true}) {
    const std::vector<WeighedExample> part = Part(examples, noisy);
    if (part.empty()) continue;
    evaluation->metrics[noisy ? "weight_noisy" : "weight_clean"] =
        MomentsOf(part, &WeighedExample::weight).mean;
  }
  const Moments weights = MomentsOf(examples, &WeighedExample::weight);
  const Moments losses = MomentsOf(examples, &WeighedExample::loss);
  const double effective = EffectiveExamples(examples);
  const double count = examples.size();
  evaluation->metrics["weight_deviation"] = weights.deviation;
  evaluation->metrics["effective_examples"] = std::min(effective / count, 1.0);

  const auto largest = std::max_element(
      examples.begin(), examples.end(),
      [](const WeighedExample& a, const WeighedExample& b) { return a.weight < b.weight; });
  const std::string remedy =
      "; look at the hypergradient's norm, lower the meta learning rate or change the estimator";
  if (largest->weight < kNearlyZero) {
    evaluation->warnings.push_back(
        absl::StrCat("the weights have collapsed to zero: the largest of ", count, " is ",
                     largest->weight, remedy));
  } else if (count >= kEnoughExamples && effective < kTooFewEffective) {
    evaluation->warnings.push_back(absl::StrCat("the weights have collapsed to one example: of ",
                                                count, " only ", effective, " count effectively",
                                                remedy));
  } else if (weights.deviation < kNearlyEqual * weights.mean &&
             losses.deviation > kLossesDiffer * losses.mean) {
    evaluation->warnings.push_back(
        absl::StrCat("the weights have collapsed to a constant: all ", count, " are near ",
                     weights.mean, " whatever the loss, so the weighting has no effect", remedy));
  }
}

}  // namespace evograd
