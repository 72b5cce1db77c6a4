// A network from images to one logit for each class.
#ifndef EVOGRAD_WORKER_MODELS_IMAGE_CLASSIFIER_H_
#define EVOGRAD_WORKER_MODELS_IMAGE_CLASSIFIER_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>

namespace evograd {

class ImageClassifier : public torch::nn::Module {
 public:
  // [N, channels, rows, columns] -> [N, classes]. Throws what LibTorch throws.
  virtual at::Tensor Forward(const at::Tensor& images) = 0;

  // Parameters and buffers before the first step, a pure function of `seed`: the same on every
  // device and, up to rounding, of every type.
  virtual void Initialise(uint64_t seed) = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_IMAGE_CLASSIFIER_H_
