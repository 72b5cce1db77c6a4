#include "algo/fitness.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "algo/portable_math.h"
#include "common/status_macros.h"

namespace evograd {

absl::StatusOr<std::vector<double>> FitnessWeights(absl::Span<const double> losses, double tau) {
  if (losses.empty()) {
    return absl::InvalidArgumentError("A population without members has no fitness weights.");
  }
  if (!(tau > 0) || !std::isfinite(tau)) {
    return absl::InvalidArgumentError(
        absl::StrCat("The temperature tau is ", tau, "; it must be positive and finite."));
  }
  for (size_t k = 0; k < losses.size(); ++k) {
    if (!std::isfinite(losses[k])) {
      return absl::OutOfRangeError(absl::StrCat("The training loss of member ", k, " is ",
                                                losses[k],
                                                "; a smaller sigma or learning rate may help."));
    }
  }
  // The best member's exponent is 0, so the sum is at least 1.
  const double best = *std::min_element(losses.begin(), losses.end());
  std::vector<double> weights(losses.size());
  double sum = 0;
  for (size_t k = 0; k < losses.size(); ++k) {
    weights[k] = PortableExp((best - losses[k]) / tau);
    sum += weights[k];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

double FitnessEntropy(absl::Span<const double> weights) {
  double entropy = 0;
  for (double weight : weights) {
    // Below the smallest normal number a term is below 1e-305: nothing.
    if (std::isnormal(weight)) entropy -= weight * PortableLog(weight);
  }
  return std::max(entropy, 0.0);
}

std::vector<double> HypergradientCoefficients(absl::Span<const double> weights,
                                              absl::Span<const double> projections, double tau) {
  EVOGRAD_CHECK(weights.size() == projections.size(), "one projection for each member");
  double mean = 0;
  for (size_t k = 0; k < weights.size(); ++k) mean += weights[k] * projections[k];
  std::vector<double> coefficients(weights.size());
  for (size_t k = 0; k < weights.size(); ++k) {
    coefficients[k] = weights[k] * (mean - projections[k]) / tau;
  }
  return coefficients;
}

}  // namespace evograd
