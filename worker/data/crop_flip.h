// The usual augmentation of small images: padding by reflected pixels, a random crop of the
// original size, a random mirror image.
#ifndef EVOGRAD_WORKER_DATA_CROP_FLIP_H_
#define EVOGRAD_WORKER_DATA_CROP_FLIP_H_

#include <cstdint>

namespace evograd {

struct CropFlip {
  int row = 0;     // of the crop in the padded image, 0 to 2 * padding
  int column = 0;  // likewise
  bool flip = false;
};

// Each value evenly distributed; a pure function of the arguments. `stream` keeps batches apart
// that share a step.
CropFlip DrawCropFlip(uint64_t seed, int64_t step, int64_t position, int stream, int padding);

// Planes of rows x columns bytes, `channels` of them; `padding` is less than both extents. The
// result is what cropping the padded image and then mirroring it left to right gives.
void ApplyCropFlip(const CropFlip& crop, int padding, const uint8_t* from, int64_t channels,
                   int64_t rows, int64_t columns, uint8_t* to);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_CROP_FLIP_H_
