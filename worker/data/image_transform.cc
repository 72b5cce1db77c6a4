#include "worker/data/image_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr int kChannels = 3;

// Weights are whole numbers of 2^-22: 8 bits of pixel and 2 of sums leave so many.
constexpr int kWeightBits = 32 - 8 - 2;
constexpr int32_t kHalf = int32_t{1} << (kWeightBits - 1);

uint8_t FromSum(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

// How each pixel of a resized line is made of pixels first .. first + count - 1 of the line before.
struct Taps {
  struct Span {
    int first = 0;
    int count = 0;
  };
  std::vector<Span> spans;       // per pixel of the result
  std::vector<int32_t> weights;  // [result, stride]
  int stride = 0;

  const int32_t* weights_of(int i) const { return weights.data() + size_t{1} * i * stride; }
};

Taps TriangleTaps(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  // Enlarging interpolates between neighbours; reducing averages over all that fall together.
  const double support = std::max(scale, 1.0);
  Taps taps;
  taps.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.spans.resize(to);
  taps.weights.resize(size_t{1} * to * taps.stride);
  std::vector<double> weights(taps.stride);
  const double inverse = 1.0 / support;
  for (int i = 0; i < to; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), from) - first;
    double sum = 0;
    for (int j = 0; j < count; ++j) {
      weights[j] = std::max(1.0 - std::abs((j + first - center + 0.5) * inverse), 0.0);
      sum += weights[j];
    }
    taps.spans[i] = {first, count};
    for (int j = 0; j < count; ++j) {
      const double weight = sum != 0 ? weights[j] / sum : weights[j];
      taps.weights[size_t{1} * i * taps.stride + j] =
          static_cast<int32_t>(0.5 + weight * (1 << kWeightBits));
    }
  }
  return taps;
}

// Part of a picture's pixels.
struct View {
  const uint8_t* pixels = nullptr;  // of the first row
  size_t row_bytes = 0;
  int height = 0;
  int width = 0;

  const uint8_t* row(int y) const { return pixels + y * row_bytes; }
};

View ViewOf(const Image& image, const ImageBox& box) {
  EVOGRAD_CHECK(box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
                    box.top + box.height <= image.height && box.left + box.width <= image.width,
                "a box inside the picture");
  const size_t row_bytes = size_t{1} * image.width * kChannels;
  return {image.pixels.data() + box.top * row_bytes + size_t{1} * box.left * kChannels, row_bytes,
          box.height, box.width};
}

Image MakeImage(int height, int width) {
  Image image;
  image.height = height;
  image.width = width;
  image.pixels.resize(size_t{1} * height * width * kChannels);
  return image;
}

Image Copy(const View& from) {
  Image image = MakeImage(from.height, from.width);
  const size_t row_bytes = size_t{1} * from.width * kChannels;
  for (int y = 0; y < from.height; ++y) {
    std::copy_n(from.row(y), row_bytes, image.pixels.data() + y * row_bytes);
  }
  return image;
}

Image ResizeWidth(const View& from, int width) {
  const Taps taps = TriangleTaps(from.width, width);
  Image image = MakeImage(from.height, width);
  uint8_t* to = image.pixels.data();
  for (int y = 0; y < from.height; ++y) {
    const uint8_t* row = from.row(y);
    for (int x = 0; x < width; ++x, to += kChannels) {
      const int32_t* weights = taps.weights_of(x);
      const uint8_t* pixel = row + size_t{1} * taps.spans[x].first * kChannels;
      int32_t red = kHalf;
      int32_t green = kHalf;
      int32_t blue = kHalf;
      for (int j = 0; j < taps.spans[x].count; ++j, pixel += kChannels) {
        red += weights[j] * pixel[0];
        green += weights[j] * pixel[1];
        blue += weights[j] * pixel[2];
      }
      to[0] = FromSum(red);
      to[1] = FromSum(green);
      to[2] = FromSum(blue);
    }
  }
  return image;
}

Image ResizeHeight(const View& from, int height) {
  const Taps taps = TriangleTaps(from.height, height);
  Image image = MakeImage(height, from.width);
  const int row_bytes = from.width * kChannels;
  std::vector<int32_t> sums(row_bytes);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int j = 0; j < taps.spans[y].count; ++j) {
      const int32_t weight = taps.weights_of(y)[j];
      const uint8_t* row = from.row(taps.spans[y].first + j);
      for (int x = 0; x < row_bytes; ++x) sums[x] += weight * row[x];
    }
    uint8_t* to = image.pixels.data() + size_t{1} * y * row_bytes;
    for (int x = 0; x < row_bytes; ++x) to[x] = FromSum(sums[x]);
  }
  return image;
}

ImageBox Whole(const Image& image) { return {0, 0, image.height, image.width}; }

// Pillow's "L": ITU-R 601-2 luma in 16-bit fixed point.
uint8_t Grey(const uint8_t* pixel) {
  return static_cast<uint8_t>(
      (uint32_t{pixel[0]} * 19595 + pixel[1] * 38470u + pixel[2] * 7471u + 0x8000) >> 16);
}

// from + factor * (to - from), cut off at 0 and 255 and towards 0.
uint8_t Blend(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  if (value <= 0) return 0;
  if (value >= 255) return 255;
  return static_cast<uint8_t>(value);
}

// With one grey for all pixels.
void BlendWithConstant(uint8_t grey, float factor, Image* image) {
  std::array<uint8_t, 256> table;
  for (int value = 0; value < 256; ++value) table[value] = Blend(grey, value, factor);
  for (uint8_t& value : image->pixels) value = table[value];
}

// Half-way cases to even, as Python's round has it.
int Round(double x) { return static_cast<int>(std::nearbyint(x)); }

// torchvision's RandomResizedCrop.get_params.
ImageBox DrawCrop(int height, int width, CounterRng* rng) {
  constexpr double kMinArea = 0.08;
  constexpr double kMinRatio = 3.0 / 4;
  constexpr double kMaxRatio = 4.0 / 3;
  constexpr int kAttempts = 10;
  const double area = 1.0 * height * width;
  const double low = std::log(kMinRatio);
  const double high = std::log(kMaxRatio);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double target = area * (kMinArea + (1 - kMinArea) * rng->Uniform());
    const double ratio = std::exp(low + (high - low) * rng->Uniform());
    ImageBox box;
    box.width = Round(std::sqrt(target * ratio));
    box.height = Round(std::sqrt(target / ratio));
    if (box.width < 1 || box.width > width || box.height < 1 || box.height > height) continue;
    box.top = static_cast<int>(rng->Below(height - box.height + 1));
    box.left = static_cast<int>(rng->Below(width - box.width + 1));
    return box;
  }
  // The largest middle part of an allowed shape.
  ImageBox box{0, 0, height, width};
  const double ratio = static_cast<double>(width) / height;
  if (ratio < kMinRatio) box.height = std::max(Round(width / kMinRatio), 1);
  if (ratio > kMaxRatio) box.width = std::max(Round(height * kMaxRatio), 1);
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

}  // namespace

Augmentation DrawAugmentation(int height, int width, uint64_t seed) {
  EVOGRAD_CHECK(height >= 1 && width >= 1, "a picture of something");
  CounterRng rng(seed);
  constexpr double kJitter = 0.4;
  const auto factor = [&rng] { return static_cast<float>(1 + kJitter * (2 * rng.Uniform() - 1)); };
  Augmentation augmentation;
  augmentation.mirror = rng.Below(2) == 1;
  augmentation.brightness = factor();
  augmentation.contrast = factor();
  augmentation.color = factor();
  // Last, because it draws a varying number.
  augmentation.crop = DrawCrop(height, width, &rng);
  return augmentation;
}

void TransformForTraining(const Image& image, const Augmentation& augmentation, int extent,
                          float* out) {
  Image part = CropAndResize(image, augmentation.crop, extent, extent);
  AdjustBrightness(augmentation.brightness, &part);
  AdjustContrast(augmentation.contrast, &part);
  AdjustColor(augmentation.color, &part);
  if (augmentation.mirror) Mirror(&part);
  Normalise(part, out);
}

void TransformForTest(const Image& image, int extent, float* out) {
  const int whole = TestResizeExtent(extent);
  const Image resized = CropAndResize(image, Whole(image), whole, whole);
  const int margin = Round((whole - extent) / 2.0);
  Normalise(Copy(ViewOf(resized, {margin, margin, extent, extent})), out);
}

Image CropAndResize(const Image& image, const ImageBox& box, int height, int width) {
  EVOGRAD_CHECK(height >= 1 && width >= 1, "a size of something");
  const View part = ViewOf(image, box);
  // Each pass rounds to 8 bits, so their order matters.
  if (width == part.width) return height == part.height ? Copy(part) : ResizeHeight(part, height);
  Image narrowed = ResizeWidth(part, width);
  if (height == part.height) return narrowed;
  return ResizeHeight(ViewOf(narrowed, Whole(narrowed)), height);
}

void AdjustBrightness(float factor, Image* image) { BlendWithConstant(0, factor, image); }

void AdjustContrast(float factor, Image* image) {
  uint64_t sum = 0;
  const size_t count = image->pixels.size() / kChannels;
  for (size_t i = 0; i < count; ++i) sum += Grey(&image->pixels[i * kChannels]);
  const double mean = static_cast<double>(sum) / count;
  BlendWithConstant(static_cast<uint8_t>(mean + 0.5), factor, image);
}

void AdjustColor(float factor, Image* image) {
  const size_t count = image->pixels.size() / kChannels;
  for (size_t i = 0; i < count; ++i) {
    uint8_t* pixel = &image->pixels[i * kChannels];
    const uint8_t grey = Grey(pixel);
    for (int c = 0; c < kChannels; ++c) pixel[c] = Blend(grey, pixel[c], factor);
  }
}

void Mirror(Image* image) {
  const size_t row_bytes = size_t{1} * image->width * kChannels;
  for (int y = 0; y < image->height; ++y) {
    uint8_t* row = image->pixels.data() + y * row_bytes;
    for (int left = 0, right = image->width - 1; left < right; ++left, --right) {
      std::swap_ranges(row + left * kChannels, row + (left + 1) * kChannels,
                       row + right * kChannels);
    }
  }
}

void Normalise(const Image& image, float* out) {
  // Of ImageNet's training pictures, as torchvision's models have them.
  constexpr float kMean[kChannels] = {0.485f, 0.456f, 0.406f};
  constexpr float kDeviation[kChannels] = {0.229f, 0.224f, 0.225f};
  const size_t count = size_t{1} * image.height * image.width;
  for (int c = 0; c < kChannels; ++c) {
    std::array<float, 256> table;
    for (int value = 0; value < 256; ++value) {
      table[value] = (static_cast<float>(value) / 255 - kMean[c]) / kDeviation[c];
    }
    const uint8_t* pixel = image.pixels.data() + c;
    for (size_t i = 0; i < count; ++i) *out++ = table[pixel[i * kChannels]];
  }
}

int TestResizeExtent(int extent) {
  EVOGRAD_CHECK(extent >= 1, "a size of something");
  return static_cast<int>(extent * 1.15);
}

}  // namespace evograd
