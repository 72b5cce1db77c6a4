// Goal: pictures turn as PyTorch's affine_grid and grid_sample turn them, and the gradient to the
// angle is theirs. Method: two sine-wave pictures; tests/golden/rotation.py wrote down the turned
// ones and the derivative of a weighted sum of their pixels. The direction is compared with
// RotateNearest's, which data files are turned by.
#include "worker/models/rotation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/golden/reader.h"
#include "worker/data/rotate.h"

namespace evograd {
namespace {

TEST(RotateTest, AgreesWithPyTorch) {
  const golden::Numbers expected = golden::Read("tests/golden/rotation.txt");
  const at::Tensor index = at::arange(2 * 10 * 10, at::kDouble);
  const at::Tensor images = at::sin(0.3 * index).view({2, 1, 10, 10});
  const at::Tensor weights = at::cos(0.11 * index).view({2, 1, 10, 10});
  const std::vector<double> angles = expected.at("angles");
  ASSERT_EQ(angles.size(), 3u);
  for (size_t i = 0; i < angles.size(); ++i) {
    for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
      const double tolerance = type == at::kDouble ? 1e-12 : 1e-4;
      at::Tensor angle = at::full({1}, angles[i], at::kDouble).to(type).requires_grad_(true);
      const at::Tensor turned = Rotate(images.to(type), angle);
      golden::ExpectNear(turned, expected.at("turned" + std::to_string(i)), tolerance, "turned");
      (turned * weights.to(type)).sum().backward();
      golden::ExpectNear(angle.grad(), expected.at("derivative" + std::to_string(i)), tolerance,
                         "derivative");
    }
  }
}

TEST(RotateTest, TurnsTheWayThatFilesAreTurned) {
  constexpr int64_t kExtent = 20;
  // A bright corner region.
  std::vector<uint8_t> picture(kExtent * kExtent);
  for (int64_t row = 2; row < 8; ++row) {
    for (int64_t column = 3; column < 12; ++column) picture[row * kExtent + column] = 200;
  }
  const auto tensor = [](const std::vector<uint8_t>& pixels) {
    at::Tensor out = at::empty({1, 1, kExtent, kExtent}, at::kDouble);
    for (size_t i = 0; i < pixels.size(); ++i) out.data_ptr<double>()[i] = pixels[i];
    return out;
  };
  const at::Tensor target = tensor(RotateNearest(picture, kExtent, 30));
  const double radians = std::acos(-1.0) / 6;
  const auto difference = [&](double angle) {
    const at::Tensor turned = Rotate(tensor(picture), at::full({1}, angle, at::kDouble));
    return (turned - target).abs().mean().item<double>();
  };
  EXPECT_LT(difference(radians), 0.3 * difference(0));
  EXPECT_LT(difference(0), difference(-radians));
}

}  // namespace
}  // namespace evograd
