#include "worker/models/conv_backbone.h"

#include <ATen/Functions.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace evograd {

ConvBackbone::ConvBackbone(int blocks) {
  const auto trunk = register_module("trunk", std::make_shared<torch::nn::Module>());
  for (int i = 0; i < blocks; ++i) {
    const auto holder =
        trunk->register_module(absl::StrCat(i), std::make_shared<torch::nn::Module>());
    Block block{torch::nn::Conv2d(torch::nn::Conv2dOptions(i == 0 ? 3 : kChannels, kChannels, 3)
                                      .padding(i < kPooledBlocks ? 0 : 1)),
                std::make_shared<TransformedBatchNorm>(kChannels)};
    holder->register_module("C", block.convolution);
    holder->register_module("BN", block.norm);
    block.norm->Transform(absl::StrCat("trunk.", i, ".BN"), &sites_);
    blocks_.push_back(std::move(block));
  }
}

at::Tensor ConvBackbone::Forward(const at::Tensor& images, const FeaturePass& pass) {
  at::Tensor x = images.contiguous(at::MemoryFormat::ChannelsLast);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x = blocks_[i].norm->Forward(blocks_[i].convolution->forward(x), pass);
    // Pooling first gives the same values and gradients with less work.
    if (i < kPooledBlocks) x = at::max_pool2d(x, 2);
    x = x.relu_();
  }
  return x;
}

int64_t ConvBackbone::OutputExtent(int64_t extent) const {
  for (int i = 0; i < kPooledBlocks; ++i) extent = (extent - 2) / 2;
  return extent;
}

}  // namespace evograd
