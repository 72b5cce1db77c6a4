// A convolutional network that turns pictures into maps of features, with feature-wise
// transformations at fixed places: the backbones of cross-domain few-shot learning. Names of layers
// are those of the published checkpoints (trunk.4.C1, trunk.4.BN1, ...).
//
//   std::shared_ptr<Backbone> net = MakeBackbone(BackboneKind::kResNet10);
//   InitialiseWeights(seed, net.get());
//   at::Tensor maps = net->Forward(images, {/*training=*/true, lambda});  // [N, 512, 7, 7]
//
// Images and maps lie in memory channels last, which is the fastest layout on every device here.
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_BACKBONE_H_
#define EVOGRAD_WORKER_MODELS_BACKBONE_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>

#include "worker/models/feature_wise_transformation.h"

namespace evograd {

enum class BackboneKind { kConv4, kConv6, kResNet10, kResNet18, kResNet34 };

class Backbone : public torch::nn::Module {
 public:
  // images [N, 3, S, S], normalised -> maps [N, channels(), E, E], E = OutputExtent(S).
  virtual at::Tensor Forward(const at::Tensor& images, const FeaturePass& pass) = 0;

  virtual int64_t channels() const = 0;
  // Less than 1: pictures of that extent are too small.
  virtual int64_t OutputExtent(int64_t extent) const = 0;

  // What a pass's lambda holds.
  const TransformationSites& sites() const { return sites_; }

 protected:
  TransformationSites sites_;
};

std::shared_ptr<Backbone> MakeBackbone(BackboneKind kind);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_BACKBONE_H_
