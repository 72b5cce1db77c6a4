// Goal: the augmentation is what padding, cropping and mirroring one after the other give, and its
// draws cover all places evenly. Method: LibTorch's reflection_pad2d, narrow and flip do the same
// to a picture of distinct pixels, for every crop there is; draws are counted.
#include "worker/data/crop_flip.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <tuple>
#include <vector>

namespace evograd {
namespace {

TEST(ApplyCropFlipTest, AgreesWithLibTorch) {
  constexpr int kPadding = 2;
  constexpr int64_t kChannels = 2, kRows = 5, kColumns = 6;
  std::vector<uint8_t> pixels(kChannels * kRows * kColumns);
  std::iota(pixels.begin(), pixels.end(), 1);
  const at::Tensor image = at::from_blob(pixels.data(), {1, kChannels, kRows, kColumns}, at::kByte);
  const at::Tensor padded =
      at::reflection_pad2d(image.to(at::kFloat), {kPadding, kPadding, kPadding, kPadding});
  for (int row = 0; row <= 2 * kPadding; ++row) {
    for (int column = 0; column <= 2 * kPadding; ++column) {
      for (const bool flip : {false, true}) {
        at::Tensor expected = padded.narrow(2, row, kRows).narrow(3, column, kColumns);
        if (flip) expected = expected.flip({3});
        std::vector<uint8_t> actual(pixels.size());
        ApplyCropFlip({row, column, flip}, kPadding, pixels.data(), kChannels, kRows, kColumns,
                      actual.data());
        EXPECT_TRUE(
            at::from_blob(actual.data(), image.sizes(), at::kByte).to(at::kFloat).equal(expected))
            << row << " " << column << " " << flip;
      }
    }
  }
}

TEST(DrawCropFlipTest, EveryCropComesEquallyOften) {
  constexpr int kDraws = 20000;
  std::vector<int> rows(9), columns(9);
  int flips = 0;
  for (int position = 0; position < kDraws; ++position) {
    const CropFlip crop = DrawCropFlip(5, 17, position, 0, 4);
    ASSERT_TRUE(crop.row >= 0 && crop.row <= 8 && crop.column >= 0 && crop.column <= 8);
    ++rows[crop.row];
    ++columns[crop.column];
    flips += crop.flip;
  }
  const double deviation = std::sqrt(kDraws * (1 / 9.0) * (8 / 9.0));
  for (int place = 0; place < 9; ++place) {
    EXPECT_NEAR(rows[place], kDraws / 9.0, 5 * deviation) << place;
    EXPECT_NEAR(columns[place], kDraws / 9.0, 5 * deviation) << place;
  }
  EXPECT_NEAR(flips, kDraws / 2.0, 5 * std::sqrt(kDraws * 0.25));
}

TEST(DrawCropFlipTest, DrawsArePureFunctionsOfTheirArguments) {
  const auto draws = [](uint64_t seed, int64_t step, int stream) {
    std::vector<std::tuple<int, int, bool>> all;
    for (int position = 0; position < 20; ++position) {
      const CropFlip crop = DrawCropFlip(seed, step, position, stream, 4);
      all.emplace_back(crop.row, crop.column, crop.flip);
    }
    return all;
  };
  EXPECT_EQ(draws(1, 2, 0), draws(1, 2, 0));
  EXPECT_NE(draws(1, 2, 0), draws(2, 2, 0));
  EXPECT_NE(draws(1, 2, 0), draws(1, 3, 0));
  EXPECT_NE(draws(1, 2, 0), draws(1, 2, 1));
}

}  // namespace
}  // namespace evograd
