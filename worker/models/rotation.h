// Rotation of pictures by a learned angle: affine_grid and bilinear grid_sample (align_corners =
// false, zeros outside), differentiable in the angle.
#ifndef EVOGRAD_WORKER_MODELS_ROTATION_H_
#define EVOGRAD_WORKER_MODELS_ROTATION_H_

#include <ATen/core/Tensor.h>

namespace evograd {

// Turns `images` [N, 1, H, W] about their centre by `angle` (one element, radians),
// counter-clockwise as one looks at them. Throws what LibTorch throws.
at::Tensor Rotate(const at::Tensor& images, const at::Tensor& angle);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_ROTATION_H_
