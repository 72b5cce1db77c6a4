// Batch normalisation with an optional feature-wise transformation behind it (H.-Y. Tseng, H.-Y.
// Lee, J.-B. Huang, M.-H. Yang, "Cross-domain few-shot classification via learned feature-wise
// transformation", ICLR 2020, section 3.2): in training, each channel c of the normalised maps z is
// scaled and shifted by random numbers whose spread is learned,
//
//   out_c = (1 + n1_c softplus(gamma_c)) z_c + n2_c softplus(beta_c),   n1, n2 ~ N(0, 1),
//
// softplus with sharpness 100. The spreads are no parameters of the module: gammas and betas of all
// layers lie in one flat lambda that every forward pass is given.
//
//   TransformationSites sites;
//   TransformedBatchNorm norm(64);
//   norm.Transform("trunk.4.BN2", &sites);      // lambda[0, 64): gammas; [64, 128): betas
//   at::Tensor out = norm.Forward(maps, {/*training=*/true, lambda});
//
// The numbers n come from LibTorch's default generator: who wants the same pass again seeds it as
// before. As scale and shift of a channel are linear they are folded into those of the batch
// normalisation: the transformation costs no pass over the maps and keeps none for the backward.
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_FEATURE_WISE_TRANSFORMATION_H_
#define EVOGRAD_WORKER_MODELS_FEATURE_WISE_TRANSFORMATION_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace evograd {

// How a forward pass normalises, and whether it transforms.
struct FeaturePass {
  // With the batch's own statistics, which move the running ones; else with the running ones.
  bool training = false;
  // [H]; undefined: no transformation. Has a meaning in training only.
  at::Tensor lambda;
};

// The layers of a backbone that are followed by a transformation, in the order of lambda: each
// one's gammas, then its betas.
class TransformationSites {
 public:
  // Where the gammas of a layer of `channels` channels begin.
  int64_t Add(const std::string& layer, int64_t channels);

  int64_t layers() const { return static_cast<int64_t>(sites_.size()); }
  int64_t hyperparameters() const { return hyperparameters_; }
  // "trunk.4.BN2.gamma[12]".
  std::vector<std::string> names() const;
  // The same number for all gammas and for all betas.
  std::vector<double> values(double gamma, double beta) const;

 private:
  struct Site {
    std::string layer;
    int64_t channels = 0;
  };
  std::vector<Site> sites_;
  int64_t hyperparameters_ = 0;
};

class TransformedBatchNorm : public torch::nn::Module {
 public:
  // A plain batch normalisation (momentum 0.1, epsilon 1e-5) until Transform is called.
  explicit TransformedBatchNorm(int64_t channels);

  void Transform(const std::string& layer, TransformationSites* sites);

  // maps [N, C, h, w] -> the same shape.
  at::Tensor Forward(const at::Tensor& maps, const FeaturePass& pass);

 private:
  const int64_t channels_;
  int64_t offset_ = -1;  // of the gammas in lambda; negative: no transformation
  at::Tensor weight_;
  at::Tensor bias_;
  at::Tensor running_mean_;
  at::Tensor running_var_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_FEATURE_WISE_TRANSFORMATION_H_
