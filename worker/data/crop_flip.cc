#include "worker/data/crop_flip.h"

#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// Reflection about the outermost pixel, which is not repeated.
int64_t Reflect(int64_t position, int64_t extent) {
  if (position < 0) return -position;
  if (position >= extent) return 2 * (extent - 1) - position;
  return position;
}

}  // namespace

CropFlip DrawCropFlip(uint64_t seed, int64_t step, int64_t position, int stream, int padding) {
  constexpr int kStreams = 2;
  EVOGRAD_CHECK(stream >= 0 && stream < kStreams, "training or validation");
  CounterRng random(
      DeriveSeed(seed, seed_domain::kAugmentation, step, position * kStreams + stream));
  CropFlip crop;
  crop.row = random.Below(2 * padding + 1);
  crop.column = random.Below(2 * padding + 1);
  crop.flip = random.Below(2) == 1;
  return crop;
}

void ApplyCropFlip(const CropFlip& crop, int padding, const uint8_t* from, int64_t channels,
                   int64_t rows, int64_t columns, uint8_t* to) {
  EVOGRAD_CHECK(padding < rows && padding < columns, "a reflection stays inside the image");
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t row = 0; row < rows; ++row) {
      const uint8_t* line =
          from + (channel * rows + Reflect(row + crop.row - padding, rows)) * columns;
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t cropped = crop.flip ? columns - 1 - column : column;
        *to++ = line[Reflect(cropped + crop.column - padding, columns)];
      }
    }
  }
}

}  // namespace evograd
