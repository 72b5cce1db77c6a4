// The network that maps an example's training loss to its weight in (0, 1): linear to `hidden`
// units, ReLU, linear to one, sigmoid (J. Shu et al., "Meta-Weight-Net", NeurIPS 2019). It has no
// parameters of its own: they are slices of the flat tensor of hyperparameters
//
//   hidden.weight [hidden], hidden.bias [hidden], output.weight [hidden], output.bias [1]
//
//   const WeightingNet net(100);                            // 301 hyperparameters
//   at::Tensor weights = net.Weights(lambda, losses);       // [N] -> [N]
//
// Threads: any. Weights throws what LibTorch throws.
#ifndef EVOGRAD_WORKER_MODELS_WEIGHTING_NET_H_
#define EVOGRAD_WORKER_MODELS_WEIGHTING_NET_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace evograd {

class WeightingNet {
 public:
  explicit WeightingNet(int64_t hidden) : hidden_(hidden) {}

  int64_t size() const { return 3 * hidden_ + 1; }
  // "hidden.weight[0]" and so on.
  std::vector<std::string> names() const;
  // PyTorch's default initialisation of linear layers, uniform in +-1/sqrt(fan in): a pure function
  // of `seed`.
  std::vector<double> InitialValues(uint64_t seed) const;

  // `losses` [N] are read as constants; differentiable in `lambda` [size()].
  at::Tensor Weights(const at::Tensor& lambda, const at::Tensor& losses) const;

 private:
  int64_t hidden_;
};

enum class WeightNormalisation { kSumToOne, kMean };

// The loss of a batch of examples, all [N]: sum of w l / sum of w, or the mean of w l. A batch
// whose weights are all 0 has loss 0 under both.
at::Tensor WeightedLoss(const at::Tensor& weights, const at::Tensor& losses,
                        WeightNormalisation normalisation);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_WEIGHTING_NET_H_
