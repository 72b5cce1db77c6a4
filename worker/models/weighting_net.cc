#include "worker/models/weighting_net.h"

#include <ATen/ATen.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "algo/seed.h"

namespace evograd {

std::vector<std::string> WeightingNet::names() const {
  std::vector<std::string> names;
  for (const char* layer : {"hidden.weight", "hidden.bias", "output.weight"}) {
    for (int64_t i = 0; i < hidden_; ++i) names.push_back(absl::StrCat(layer, "[", i, "]"));
  }
  names.push_back("output.bias");
  return names;
}

std::vector<double> WeightingNet::InitialValues(uint64_t seed) const {
  // The network that is trained draws from (kInitialisation, 0, 0).
  CounterRng random(DeriveSeed(seed, seed_domain::kInitialisation, 1, 0));
  const double output_bound = 1 / std::sqrt(static_cast<double>(hidden_));
  std::vector<double> values;
  for (int64_t i = 0; i < size(); ++i) {
    const double bound = i < 2 * hidden_ ? 1 : output_bound;  // a hidden unit has one input
    values.push_back(bound * (2 * random.Uniform() - 1));
  }
  return values;
}

at::Tensor WeightingNet::Weights(const at::Tensor& lambda, const at::Tensor& losses) const {
  const at::Tensor hidden_weight = lambda.narrow(0, 0, hidden_).unsqueeze(1);
  const at::Tensor hidden_bias = lambda.narrow(0, hidden_, hidden_);
  const at::Tensor output_weight = lambda.narrow(0, 2 * hidden_, hidden_).unsqueeze(0);
  const at::Tensor output_bias = lambda.narrow(0, 3 * hidden_, 1);
  const at::Tensor hidden =
      at::relu(at::linear(losses.detach().unsqueeze(1), hidden_weight, hidden_bias));
  return at::sigmoid(at::linear(hidden, output_weight, output_bias)).squeeze(1);
}

at::Tensor WeightedLoss(const at::Tensor& weights, const at::Tensor& losses,
                        WeightNormalisation normalisation) {
  const at::Tensor sum = at::dot(weights, losses);
  if (normalisation == WeightNormalisation::kMean) return sum / losses.size(0);
  const at::Tensor total = weights.sum();
  // Weights are not negative: a total of 0 means that the numerator is 0 too.
  return sum / (total + total.detach().eq(0));
}

}  // namespace evograd
