// The transforms of cross-domain few-shot learning on 8-bit pictures, with the arithmetic of Pillow
// and torchvision, so that results are theirs to the bit: resizing is Pillow's BILINEAR (a triangle
// filter as wide as the reduction, in 22-bit fixed point, the width first; Pillow 13 may take the
// height first, which moves a pixel by at most 1), the colour changes its ImageEnhance.
//
//   Training: a crop of random area and shape (torchvision's RandomResizedCrop, scale 0.08 to 1,
//   ratio 3/4 to 4/3) resized to extent x extent; Brightness, Contrast, Color in this order, each
//   by a factor 1 + 0.4 (2u - 1); a mirror image half of the time; ImageNet's mean and deviation.
//
//     TransformForTraining(image, DrawAugmentation(image.height, image.width, seed), 84, out);
//
//   Test: resized to int(1.15 extent) on both sides whatever its shape, the middle of it, the same
//   normalisation.
//
//     TransformForTest(image, 84, out);
//
// Threads: pure functions. Errors: none; boxes outside the picture and extents below 1 are a
// programmer's.
#ifndef EVOGRAD_WORKER_DATA_IMAGE_TRANSFORM_H_
#define EVOGRAD_WORKER_DATA_IMAGE_TRANSFORM_H_

#include <cstdint>

#include "worker/data/image_file.h"

namespace evograd {

// A part of a picture, in pixels.
struct ImageBox {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
};

// What is random in the training transform.
struct Augmentation {
  ImageBox crop;
  float brightness = 1;  // factors; 1 changes nothing
  float contrast = 1;
  float color = 1;
  bool mirror = false;
};

// The choices for a picture of `height` x `width` pixels: a pure function of its arguments.
Augmentation DrawAugmentation(int height, int width, uint64_t seed);

// Each writes float32 [3, extent, extent] to `out`.
void TransformForTraining(const Image& image, const Augmentation& augmentation, int extent,
                          float* out);
void TransformForTest(const Image& image, int extent, float* out);

// The parts that these consist of.

// `box` of the picture, resized.
Image CropAndResize(const Image& image, const ImageBox& box, int height, int width);
// Blends with black, with the picture's mean grey, and with its grey version; above 1 away from it.
void AdjustBrightness(float factor, Image* image);
void AdjustContrast(float factor, Image* image);
void AdjustColor(float factor, Image* image);
void Mirror(Image* image);  // left becomes right
// (pixel / 255 - mean) / deviation, channels first: float32 [3, height, width] to `out`.
void Normalise(const Image& image, float* out);

// The side that the test transform resizes to: int(1.15 extent), 257 for 224 and 96 for 84.
int TestResizeExtent(int extent);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IMAGE_TRANSFORM_H_
