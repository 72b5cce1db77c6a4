#include "worker/models/feature_wise_transformation.h"

#include <ATen/Functions.h>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kEpsilon = 1e-5;
constexpr double kSharpness = 100;
// Beyond this product with the sharpness softplus is the identity (PyTorch's default).
constexpr double kLinearFrom = 20;

at::Tensor Softplus(const at::Tensor& x) { return at::softplus(x, kSharpness, kLinearFrom); }

}  // namespace

int64_t TransformationSites::Add(const std::string& layer, int64_t channels) {
  const int64_t offset = hyperparameters_;
  sites_.push_back({layer, channels});
  hyperparameters_ += 2 * channels;
  return offset;
}

std::vector<std::string> TransformationSites::names() const {
  std::vector<std::string> names;
  names.reserve(hyperparameters_);
  for (const Site& site : sites_) {
    for (const char* kind : {"gamma", "beta"}) {
      for (int64_t i = 0; i < site.channels; ++i) {
        names.push_back(absl::StrCat(site.layer, ".", kind, "[", i, "]"));
      }
    }
  }
  return names;
}

std::vector<double> TransformationSites::values(double gamma, double beta) const {
  std::vector<double> values;
  values.reserve(hyperparameters_);
  for (const Site& site : sites_) {
    values.insert(values.end(), site.channels, gamma);
    values.insert(values.end(), site.channels, beta);
  }
  return values;
}

TransformedBatchNorm::TransformedBatchNorm(int64_t channels)
    : channels_(channels),
      weight_(register_parameter("weight", at::ones({channels}))),
      bias_(register_parameter("bias", at::zeros({channels}))),
      running_mean_(register_buffer("running_mean", at::zeros({channels}))),
      running_var_(register_buffer("running_var", at::ones({channels}))) {}

void TransformedBatchNorm::Transform(const std::string& layer, TransformationSites* sites) {
  offset_ = sites->Add(layer, channels_);
}

at::Tensor TransformedBatchNorm::Forward(const at::Tensor& maps, const FeaturePass& pass) {
  if (!pass.training) {
    // Copies: a backward pass reads them, and a training pass may move the running ones before it.
    return at::batch_norm(maps, weight_, bias_, running_mean_.clone(), running_var_.clone(),
                          /*training=*/false, kMomentum, kEpsilon, /*cudnn_enabled=*/true);
  }
  at::Tensor weight = weight_;
  at::Tensor bias = bias_;
  if (offset_ >= 0 && pass.lambda.defined()) {
    const at::Tensor gamma = Softplus(pass.lambda.narrow(0, offset_, channels_));
    const at::Tensor beta = Softplus(pass.lambda.narrow(0, offset_ + channels_, channels_));
    const at::Tensor scale = at::randn({channels_}, maps.options()) * gamma + 1;
    const at::Tensor shift = at::randn({channels_}, maps.options()) * beta;
    weight = weight * scale;
    bias = bias * scale + shift;
  }
  return at::batch_norm(maps, weight, bias, running_mean_, running_var_, /*training=*/true,
                        kMomentum, kEpsilon, /*cudnn_enabled=*/true);
}

}  // namespace evograd
