#include "worker/models/resnet.h"

#include <ATen/Functions.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

constexpr int64_t kStages[] = {64, 128, 256, 512};  // channels

torch::nn::Conv2d Convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

// Where windows overlap, CUDA's backward for channels last may add up in any order; the one for
// channels first does not.
at::Tensor StemPool(const at::Tensor& maps) {
  if (!maps.is_cuda()) return at::max_pool2d(maps, 3, 2, 1);
  return at::max_pool2d(maps.contiguous(), 3, 2, 1).contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace

class ResNet::Block : public torch::nn::Module {
 public:
  Block(int64_t in, int64_t out, int64_t stride, const std::string& name,
        TransformationSites* sites)
      : convolution1_(register_module("C1", Convolution(in, out, 3, stride))),
        norm1_(register_module("BN1", std::make_shared<TransformedBatchNorm>(out))),
        convolution2_(register_module("C2", Convolution(out, out, 3, 1))),
        norm2_(register_module("BN2", std::make_shared<TransformedBatchNorm>(out))) {
    norm2_->Transform(name + ".BN2", sites);
    if (in == out) return;
    shortcut_ = register_module("shortcut", Convolution(in, out, 1, stride));
    shortcut_norm_ = register_module("BNshortcut", std::make_shared<TransformedBatchNorm>(out));
    shortcut_norm_->Transform(name + ".BNshortcut", sites);
  }

  at::Tensor Forward(const at::Tensor& x, const FeaturePass& pass) {
    at::Tensor out = norm1_->Forward(convolution1_->forward(x), pass).relu_();
    out = norm2_->Forward(convolution2_->forward(out), pass);
    // A normalisation's backward does not look at its output, so that may be overwritten.
    out.add_(shortcut_norm_ == nullptr ? x : shortcut_norm_->Forward(shortcut_->forward(x), pass));
    return out.relu_();
  }

 private:
  torch::nn::Conv2d convolution1_;
  std::shared_ptr<TransformedBatchNorm> norm1_;
  torch::nn::Conv2d convolution2_;
  std::shared_ptr<TransformedBatchNorm> norm2_;
  torch::nn::Conv2d shortcut_{nullptr};
  std::shared_ptr<TransformedBatchNorm> shortcut_norm_;
};

ResNet::ResNet(const std::vector<int>& stages) : convolution_(Convolution(3, kStages[0], 7, 2)) {
  const auto trunk = register_module("trunk", std::make_shared<torch::nn::Module>());
  trunk->register_module("0", convolution_);
  norm_ = trunk->register_module("1", std::make_shared<TransformedBatchNorm>(kStages[0]));
  // 2 and 3 are a ReLU and a pooling.
  int number = 4;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    for (int i = 0; i < stages[stage]; ++i) {
      const int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      blocks_.push_back(trunk->register_module(
          absl::StrCat(number), std::make_shared<Block>(channels_, kStages[stage], stride,
                                                        absl::StrCat("trunk.", number), &sites_)));
      channels_ = kStages[stage];
      ++number;
    }
  }
}

at::Tensor ResNet::Forward(const at::Tensor& images, const FeaturePass& pass) {
  at::Tensor x = convolution_->forward(images.contiguous(at::MemoryFormat::ChannelsLast));
  // Pooling first gives the same values and gradients with less work.
  x = StemPool(norm_->Forward(x, pass)).relu_();
  for (const auto& block : blocks_) x = block->Forward(x, pass);
  return x;
}

int64_t ResNet::OutputExtent(int64_t extent) const {
  for (int halving = 0; halving < 5; ++halving) extent = (extent + 1) / 2;
  return extent;
}

}  // namespace evograd
