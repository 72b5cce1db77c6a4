// The representation transformation network of MetaXL (M. Xia et al., NAACL 2021, section 2.2):
// what it adds to hidden states of a source language makes them more like the target's.
//
//   RepresentationTransformation transformation(/*hidden=*/768, /*bottleneck=*/384);
//   at::Tensor transformed = transformation.Forward(hidden, lambda);    // lambda: [591361]
//
// A perceptron over each token's state x, tied and gated as in the published runs: with
// [f, g] = W2 relu(W1 x + b1) + b2, f of the size of x and g one number, the result is
// x + sigmoid(g) f. The perceptron's input is detached: a gradient to what made x goes through the
// sum's first term alone, as in the published code.
//
// Its weights are the job's hyperparameters, one flat tensor: W1 [bottleneck, hidden], b1
// [bottleneck], W2 [hidden + 1, bottleneck], b2 [hidden + 1], row by row, one after the other.
//
// Threads: immutable. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_REPRESENTATION_TRANSFORMATION_H_
#define EVOGRAD_WORKER_MODELS_REPRESENTATION_TRANSFORMATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace evograd {

class RepresentationTransformation {
 public:
  RepresentationTransformation(int64_t hidden, int64_t bottleneck);

  // The number of hyperparameters.
  int64_t size() const;
  // "first.weight[0,12]", in the order of lambda.
  std::vector<std::string> names() const;
  // Xavier-normal weights (deviation sqrt(2 / (in + out))) and biases of zero: a pure function of
  // `seed`.
  std::vector<double> Initial(uint64_t seed) const;

  // `hidden` [..., hidden] -> the same shape; `lambda` [size()], of its type and device.
  at::Tensor Forward(const at::Tensor& hidden, const at::Tensor& lambda) const;

 private:
  const int64_t hidden_;
  const int64_t bottleneck_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_REPRESENTATION_TRANSFORMATION_H_
