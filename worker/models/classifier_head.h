// A classifier on the maps of a backbone: the mean over each map, hidden linear layers of as many
// channels with ReLU, a linear layer to the classes. With two hidden layers it is the auxiliary
// classifier of learned feature-wise transformation, with none the one of pretraining.
//
//   ClassifierHead head(/*channels=*/512, /*hidden_layers=*/2, /*classes=*/64);
//   at::Tensor logits = head.Forward(maps);  // [N, 512, 7, 7] -> [N, 64]
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_CLASSIFIER_HEAD_H_
#define EVOGRAD_WORKER_MODELS_CLASSIFIER_HEAD_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <vector>

namespace evograd {

class ClassifierHead : public torch::nn::Module {
 public:
  ClassifierHead(int64_t channels, int hidden_layers, int64_t classes);

  at::Tensor Forward(const at::Tensor& maps);

 private:
  std::vector<torch::nn::Linear> layers_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_CLASSIFIER_HEAD_H_
