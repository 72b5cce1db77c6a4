#include "worker/models/thin_conv.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>

namespace evograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class ThinConv : public torch::autograd::Function<ThinConv> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const at::Tensor& bias, int64_t padding) {
    context->save_for_backward({input, weight});
    context->saved_data["padding"] = padding;
    return at::conv2d(input, weight, bias, 1, padding);
  }

  // Of differentiable operations only, so that a second derivative follows.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& input = saved[0];
    const at::Tensor& weight = saved[1];
    const int64_t padding = context->saved_data["padding"].toInt();
    variable_list result(4);
    if (context->needs_input_grad(0)) {
      const at::Tensor turned = weight.flip({2, 3}).transpose(0, 1);
      result[0] = at::conv2d(gradients[0], turned, {}, 1, weight.size(2) - 1 - padding);
    }
    if (context->needs_input_grad(1) || context->needs_input_grad(2)) {
      std::tie(std::ignore, result[1], result[2]) = at::convolution_backward(
          gradients[0], input, weight, at::IntArrayRef{weight.size(0)}, /*stride=*/{1, 1},
          {padding, padding}, /*dilation=*/{1, 1}, /*transposed=*/false, /*output_padding=*/{0, 0},
          /*groups=*/1, {false, true, true});
    }
    return result;
  }
};

}  // namespace

at::Tensor ThinConv2d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                      int64_t padding) {
  if (!input.requires_grad()) return at::conv2d(input, weight, bias, 1, padding);
  return ThinConv::apply(input, weight, bias, padding);
}

}  // namespace evograd
