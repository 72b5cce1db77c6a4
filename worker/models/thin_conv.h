// A convolution whose gradient to a thin input (few channels) is cheap on a CPU.
#ifndef EVOGRAD_WORKER_MODELS_THIN_CONV_H_
#define EVOGRAD_WORKER_MODELS_THIN_CONV_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace evograd {

// at::conv2d with stride 1, input [N, C, H, W], weight [O, C, k, k], bias [O], `padding` < k on all
// sides: the same values and derivatives of all orders. oneDNN's own gradient to an input of one
// channel takes several times as long as the forward pass; here it is a forward convolution of the
// output's gradient with the turned weights. Throws what LibTorch throws.
at::Tensor ThinConv2d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                      int64_t padding);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_THIN_CONV_H_
