// RelationNet (F. Sung et al., "Learning to compare: relation network for few-shot learning", CVPR
// 2018) in the form with a softmax: a backbone turns pictures into maps; a class's prototype is the
// mean of its support maps; a relation module scores every pair of query and prototype, and the
// scores of a query are the logits of its class.
//
//   RelationNet net(MakeBackbone(BackboneKind::kResNet10), /*extent=*/224);
//   InitialiseWeights(seed, &net);
//   at::Tensor scores = net.Forward(images, {/*ways=*/5, /*support=*/5}, {true, lambda});
//   at::Tensor loss = at::cross_entropy_loss(scores, QueryLabels(5, 16));
//
// The relation module: two blocks of a 3 x 3 convolution (2C -> C, C -> C channels), batch
// normalisation with the batch's own statistics in training and in evaluation alike, ReLU, max
// pooling by 2; then linear layers to 8, ReLU, 1. Convolutions pad by 1 where the backbone's maps
// are smaller than 10 (those of ResNets), and a map of one pixel is not pooled (84 pixels with
// a ResNet, where the published code has nothing left).
//
// The first convolution of a pair (prototype, query) is the sum of a convolution of the prototype
// and one of the query, so each map is convolved once and not once for each pair: for 5 ways and 16
// queries a tenth of the work, which otherwise would equal a ResNet10's.
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_RELATION_NET_H_
#define EVOGRAD_WORKER_MODELS_RELATION_NET_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <memory>
#include <string>

#include "worker/models/backbone.h"

namespace evograd {

class RelationModule : public torch::nn::Module {
 public:
  // For maps [., channels, extent, extent].
  RelationModule(int64_t channels, int64_t extent);

  // What the first convolution makes of maps [N, C, E, E] in the prototype's and in the query's
  // place, [N, C, E', E']. Both are linear: the part of a mean of maps is the mean of their parts.
  at::Tensor PrototypePart(const at::Tensor& maps);
  at::Tensor QueryPart(const at::Tensor& maps);
  // Numbers of one map's part.
  int64_t part_elements() const { return channels_ * part_extent_ * part_extent_; }
  // Parts of W prototypes and Q queries -> scores [Q, W].
  at::Tensor Scores(const at::Tensor& prototype_parts, const at::Tensor& query_parts);

 private:
  // A convolution and the scale and shift of its normalisation.
  struct Block {
    torch::nn::Conv2d convolution;
    at::Tensor weight;
    at::Tensor bias;
  };

  Block MakeBlock(const std::string& name, int64_t in, int64_t out);
  // Normalises, pools where there is more than a pixel, cuts off below 0.
  at::Tensor Finish(const Block& block, const at::Tensor& maps);

  const int64_t channels_;
  const int64_t padding_;
  const int64_t part_extent_;
  Block layer1_;
  Block layer2_;
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
};

// Pictures of an episode lie class by class, `support` pictures of each before its queries.
struct EpisodeCut {
  int64_t ways = 5;
  int64_t support = 5;
};

class RelationNet : public torch::nn::Module {
 public:
  // For pictures of `extent` pixels a side.
  RelationNet(std::shared_ptr<Backbone> feature, int64_t extent);

  // images [ways * (support + query), 3, S, S] -> scores [ways * query, ways], class by class.
  at::Tensor Forward(const at::Tensor& images, const EpisodeCut& cut, const FeaturePass& pass);

  Backbone& feature() { return *feature_; }
  RelationModule& relation() { return *relation_; }

 private:
  std::shared_ptr<Backbone> feature_;
  std::shared_ptr<RelationModule> relation_;
};

// The class of each row of Forward's scores: [ways * query], int64, on the CPU.
at::Tensor QueryLabels(int64_t ways, int64_t query);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_RELATION_NET_H_
