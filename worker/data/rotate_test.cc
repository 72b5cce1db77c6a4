// Goal: pictures turn by the given angle, counter-clockwise, to the nearest pixel.
// Method: quarter turns of a small picture written out by hand; and 30 degrees of a 28 x 28 picture
// of distinct sources against what PyTorch's nearest grid_sample gives (tests/golden/rotation.py).
#include "worker/data/rotate.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace evograd {
namespace {

using Pixels = std::vector<uint8_t>;

TEST(RotateNearestTest, QuarterTurnsAreCounterClockwise) {
  const Pixels picture = {1, 2, 3,  //
                          4, 5, 6,  //
                          7, 8, 9};
  EXPECT_EQ(RotateNearest(picture, 3, 0), picture);
  EXPECT_EQ(RotateNearest(picture, 3, 90), (Pixels{3, 6, 9, 2, 5, 8, 1, 4, 7}));
  EXPECT_EQ(RotateNearest(picture, 3, -90), (Pixels{7, 4, 1, 8, 5, 2, 9, 6, 3}));
  EXPECT_EQ(RotateNearest(picture, 3, 180), (Pixels{9, 8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(RotateNearestTest, EachPictureTurnsByItself) {
  const Pixels two = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(RotateNearest(two, 2, 90), (Pixels{2, 4, 1, 3, 6, 8, 5, 7}));
}

TEST(RotateNearestTest, OutsideIsBlack) {
  const Pixels white(10 * 10, 255);
  const Pixels turned = RotateNearest(white, 10, 45);
  EXPECT_EQ(turned.front(), 0);
  EXPECT_EQ(turned.back(), 0);
  EXPECT_EQ(turned[55], 255);
}

TEST(RotateNearestTest, AgreesWithPyTorch) {
  std::ifstream file("tests/golden/rotation.txt");
  ASSERT_TRUE(file.is_open());
  Pixels picture(28 * 28);
  for (int i = 0; i < 28 * 28; ++i) picture[i] = i % 251;
  int compared = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    double degrees;
    if (!(words >> name) || name != "nearest" || !(words >> degrees)) continue;
    Pixels expected;
    for (int pixel; words >> pixel;) expected.push_back(pixel);
    EXPECT_EQ(RotateNearest(picture, 28, degrees), expected) << degrees;
    ++compared;
  }
  EXPECT_EQ(compared, 3);
}

}  // namespace
}  // namespace evograd
