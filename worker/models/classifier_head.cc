#include "worker/models/classifier_head.h"

#include <ATen/Functions.h>

#include "absl/strings/str_cat.h"

namespace evograd {

ClassifierHead::ClassifierHead(int64_t channels, int hidden_layers, int64_t classes) {
  for (int i = 0; i <= hidden_layers; ++i) {
    // Every second number, as in a sequence with the ReLUs between.
    layers_.push_back(register_module(
        absl::StrCat(2 * i), torch::nn::Linear(channels, i < hidden_layers ? channels : classes)));
  }
}

at::Tensor ClassifierHead::Forward(const at::Tensor& maps) {
  at::Tensor x = maps.mean({2, 3});
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = layers_[i]->forward(x);
    if (i + 1 < layers_.size()) x = at::relu(x);
  }
  return x;
}

}  // namespace evograd
