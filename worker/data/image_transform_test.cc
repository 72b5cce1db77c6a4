// Goal: the transforms have the extents, values and random choices that their header promises.
// Method: properties on small pictures; that the numbers are Pillow's and torchvision's is
// tests/golden/images_test's.
#include "worker/data/image_transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "worker/data/testing/pictures.h"

namespace evograd {
namespace {

std::vector<float> Train(const Image& image, const Augmentation& augmentation, int extent) {
  std::vector<float> out(size_t{3} * extent * extent);
  TransformForTraining(image, augmentation, extent, out.data());
  return out;
}

TEST(ImageTransformTest, TestExtents) {
  EXPECT_EQ(TestResizeExtent(224), 257);
  EXPECT_EQ(TestResizeExtent(84), 96);
}

TEST(ImageTransformTest, AWholePictureOfTheRightSizeStaysAsItIs) {
  const Image image = MakePicture(20, 30, 1, 2);
  EXPECT_EQ(CropAndResize(image, {0, 0, 20, 30}, 20, 30).pixels, image.pixels);
  const Image part = CropAndResize(image, {3, 4, 5, 6}, 5, 6);
  EXPECT_EQ(part.pixels[0], image.pixels[(3 * 30 + 4) * 3]);
  EXPECT_EQ(part.pixels.back(), image.pixels[(7 * 30 + 9) * 3 + 2]);
}

TEST(ImageTransformTest, OneColourStaysOneColour) {
  Image image = MakePicture(37, 53, 1, 2);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = 10 + i % 3;
  for (const int height : {1, 20, 100}) {
    const Image resized = CropAndResize(image, {0, 0, 37, 53}, height, 41);
    ASSERT_EQ(resized.pixels.size(), height * 41 * 3);
    for (size_t i = 0; i < resized.pixels.size(); ++i) ASSERT_EQ(resized.pixels[i], 10 + i % 3);
  }
}

TEST(ImageTransformTest, FactorsOfOneChangeNothing) {
  const Image image = MakePicture(20, 30, 1, 2);
  Image same = image;
  AdjustBrightness(1, &same);
  AdjustContrast(1, &same);
  AdjustColor(1, &same);
  EXPECT_EQ(same.pixels, image.pixels);
  AdjustBrightness(0.5, &same);
  EXPECT_EQ(same.pixels[7], image.pixels[7] / 2);
  AdjustColor(0, &same);
  EXPECT_EQ(same.pixels[0], same.pixels[1]);
}

TEST(ImageTransformTest, MirrorTwiceIsNothing) {
  const Image image = MakePicture(4, 5, 1, 2);
  Image turned = image;
  Mirror(&turned);
  EXPECT_NE(turned.pixels, image.pixels);
  EXPECT_EQ(turned.pixels[0], image.pixels[4 * 3]);
  Mirror(&turned);
  EXPECT_EQ(turned.pixels, image.pixels);
}

TEST(ImageTransformTest, NormalisedByChannel) {
  Image image;
  image.height = 1;
  image.width = 2;
  image.pixels = {0, 0, 0, 255, 255, 255};
  std::vector<float> out(6);
  Normalise(image, out.data());
  const double mean[] = {0.485, 0.456, 0.406};
  const double deviation[] = {0.229, 0.224, 0.225};
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(out[2 * c], -mean[c] / deviation[c], 1e-6);
    EXPECT_NEAR(out[2 * c + 1], (1 - mean[c]) / deviation[c], 1e-6);
  }
}

TEST(ImageTransformTest, ChoicesFollowFromTheSeedAlone) {
  std::set<int> widths;
  int mirrors = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Augmentation a = DrawAugmentation(50, 80, seed);
    const Augmentation b = DrawAugmentation(50, 80, seed);
    EXPECT_EQ(a.crop.width, b.crop.width);
    EXPECT_EQ(a.crop.left, b.crop.left);
    EXPECT_EQ(a.contrast, b.contrast);
    EXPECT_LE(a.crop.left + a.crop.width, 80);
    EXPECT_LE(a.crop.top + a.crop.height, 50);
    EXPECT_GE(a.crop.left, 0);
    EXPECT_GE(a.crop.top, 0);
    for (const float factor : {a.brightness, a.contrast, a.color}) {
      EXPECT_GE(factor, 0.6f);
      EXPECT_LE(factor, 1.4f);
    }
    widths.insert(a.crop.width);
    mirrors += a.mirror;
  }
  EXPECT_GT(widths.size(), 20);
  EXPECT_GT(mirrors, 25);
  EXPECT_LT(mirrors, 75);
}

TEST(ImageTransformTest, ShapesThatAdmitNoCropFallBackToTheMiddle) {
  const Augmentation flat = DrawAugmentation(10, 4000, 3);
  EXPECT_EQ(flat.crop.height, 10);
  EXPECT_EQ(flat.crop.width, 13);
  EXPECT_EQ(flat.crop.left, (4000 - 13) / 2);
  const Augmentation tall = DrawAugmentation(4000, 10, 3);
  EXPECT_EQ(tall.crop.height, 13);
  EXPECT_EQ(tall.crop.width, 10);
  const Augmentation one = DrawAugmentation(1, 1, 3);
  EXPECT_EQ(one.crop.height * one.crop.width, 1);
}

TEST(ImageTransformTest, WholeTransformsAreTheirParts) {
  const Image image = MakePicture(60, 45, 1, 2);
  Augmentation one;
  one.crop = {5, 6, 30, 20};
  const std::vector<float> plain = Train(image, one, 24);
  std::vector<float> expected(plain.size());
  Normalise(CropAndResize(image, one.crop, 24, 24), expected.data());
  EXPECT_EQ(plain, expected);
  one.mirror = true;
  const std::vector<float> mirrored = Train(image, one, 24);
  EXPECT_EQ(mirrored[0], plain[23]);
  one.brightness = 0.7f;
  EXPECT_LT(Train(image, one, 24)[100], mirrored[100]);

  std::vector<float> test(size_t{3} * 24 * 24);
  TransformForTest(image, 24, test.data());
  // int(24 * 1.15) = 27, and 1.5 pixels at each side: Python rounds it to 2.
  const Image resized = CropAndResize(image, {0, 0, 60, 45}, 27, 27);
  std::vector<float> all(size_t{3} * 27 * 27);
  Normalise(resized, all.data());
  EXPECT_EQ(test[0], all[2 * 27 + 2]);
  EXPECT_EQ(test[23], all[2 * 27 + 25]);
}

}  // namespace
}  // namespace evograd
