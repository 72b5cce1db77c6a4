#include "worker/models/relation_net.h"

#include <ATen/Functions.h>

#include <string>
#include <utility>

namespace evograd {
namespace {

constexpr int64_t kHidden = 8;
// Smaller maps are padded.
constexpr int64_t kPaddedBelow = 10;
constexpr double kEpsilon = 1e-5;

int64_t PaddingFor(int64_t extent) { return extent < kPaddedBelow ? 1 : 0; }

int64_t AfterBlock(int64_t extent, int64_t padding) {
  extent += 2 * padding - 2;
  return extent > 1 ? extent / 2 : extent;
}

int64_t AfterBlocks(int64_t extent) {
  const int64_t padding = PaddingFor(extent);
  return AfterBlock(AfterBlock(extent, padding), padding);
}

// Maps [..., C, h, w] as they lie in memory, channels last, and back.
at::Tensor ToChannelsLast(const at::Tensor& maps) {
  return maps.permute({0, 2, 3, 1}).contiguous();
}
at::Tensor FromChannelsLast(const at::Tensor& maps) { return maps.permute({0, 3, 1, 2}); }

}  // namespace

RelationModule::RelationModule(int64_t channels, int64_t extent)
    : channels_(channels),
      padding_(PaddingFor(extent)),
      part_extent_(extent + 2 * padding_ - 2),
      layer1_(MakeBlock("layer1", 2 * channels, channels)),
      layer2_(MakeBlock("layer2", channels, channels)),
      fc1_(register_module(
          "fc1", torch::nn::Linear(channels * AfterBlocks(extent) * AfterBlocks(extent), kHidden))),
      fc2_(register_module("fc2", torch::nn::Linear(kHidden, 1))) {}

RelationModule::Block RelationModule::MakeBlock(const std::string& name, int64_t in, int64_t out) {
  const auto layer = register_module(name, std::make_shared<torch::nn::Module>());
  const auto norm = std::make_shared<torch::nn::Module>();
  Block block{torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(padding_)),
              at::Tensor(), at::Tensor()};
  layer->register_module("C", block.convolution);
  layer->register_module("BN", norm);
  block.weight = norm->register_parameter("weight", at::ones({out}));
  block.bias = norm->register_parameter("bias", at::zeros({out}));
  return block;
}

at::Tensor RelationModule::PrototypePart(const at::Tensor& maps) {
  return at::conv2d(maps, layer1_.convolution->weight.narrow(1, 0, channels_), {}, 1, padding_);
}

at::Tensor RelationModule::QueryPart(const at::Tensor& maps) {
  return at::conv2d(maps, layer1_.convolution->weight.narrow(1, channels_, channels_), {}, 1,
                    padding_);
}

at::Tensor RelationModule::Finish(const Block& block, const at::Tensor& maps) {
  at::Tensor x = at::batch_norm(maps, block.weight, block.bias, {}, {}, /*training=*/true,
                                /*momentum=*/1, kEpsilon, /*cudnn_enabled=*/true);
  // Pooling first gives the same values and gradients with less work.
  if (x.size(2) > 1) x = at::max_pool2d(x, 2);
  return x.relu_();
}

at::Tensor RelationModule::Scores(const at::Tensor& prototype_parts,
                                  const at::Tensor& query_parts) {
  const at::Tensor prototypes = ToChannelsLast(prototype_parts) + layer1_.convolution->bias;
  const at::Tensor pairs = ToChannelsLast(query_parts).unsqueeze(1) + prototypes.unsqueeze(0);
  at::Tensor x = Finish(layer1_, FromChannelsLast(pairs.flatten(0, 1)));
  x = Finish(layer2_, layer2_.convolution->forward(x));
  x = fc2_->forward(at::relu(fc1_->forward(x.flatten(1))));
  return x.view({query_parts.size(0), prototype_parts.size(0)});
}

RelationNet::RelationNet(std::shared_ptr<Backbone> feature, int64_t extent)
    : feature_(register_module("feature", std::move(feature))),
      relation_(register_module(
          "relation_module",
          std::make_shared<RelationModule>(feature_->channels(), feature_->OutputExtent(extent)))) {
}

at::Tensor RelationNet::Forward(const at::Tensor& images, const EpisodeCut& cut,
                                const FeaturePass& pass) {
  const at::Tensor maps = ToChannelsLast(feature_->Forward(images, pass));
  const at::Tensor by_class = maps.unflatten(0, {cut.ways, maps.size(0) / cut.ways});
  const at::Tensor prototypes = by_class.narrow(1, 0, cut.support).mean(1);
  const at::Tensor queries =
      by_class.narrow(1, cut.support, by_class.size(1) - cut.support).flatten(0, 1);
  return relation_->Scores(relation_->PrototypePart(FromChannelsLast(prototypes)),
                           relation_->QueryPart(FromChannelsLast(queries)));
}

at::Tensor QueryLabels(int64_t ways, int64_t query) {
  return at::arange(ways, at::kLong).repeat_interleave(query);
}

}  // namespace evograd
