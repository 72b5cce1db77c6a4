#include "worker/models/rotation.h"

#include <ATen/Functions.h>

namespace evograd {

at::Tensor Rotate(const at::Tensor& images, const at::Tensor& angle) {
  constexpr int64_t kBilinear = 0;
  constexpr int64_t kZeros = 0;
  const at::Tensor cosine = at::cos(angle).squeeze();
  const at::Tensor sine = at::sin(angle).squeeze();
  const at::Tensor zero = at::zeros_like(sine);
  const at::Tensor matrix = at::stack({cosine, -sine, zero, sine, cosine, zero}).view({1, 2, 3});
  // One grid serves all pictures, so they travel as the channels of one: the weights are computed
  // once per pixel.
  const at::Tensor channels = images.transpose(0, 1);
  const at::Tensor grid = at::affine_grid_generator(matrix, channels.sizes(), false);
  return at::grid_sampler(channels, grid, kBilinear, kZeros, false).transpose(0, 1);
}

}  // namespace evograd
