#include "worker/data/rotate.h"

#include <cmath>

#include "common/status_macros.h"

namespace evograd {
namespace {

// For each pixel of the result the pixel it is taken from; -1: outside.
std::vector<int64_t> Sources(int64_t extent, double degrees) {
  const double radians = degrees * std::acos(-1.0) / 180;
  const double cosine = std::cos(radians);
  const double sine = std::sin(radians);
  const double centre = (extent - 1) / 2.0;
  std::vector<int64_t> sources;
  sources.reserve(extent * extent);
  for (int64_t row = 0; row < extent; ++row) {
    for (int64_t column = 0; column < extent; ++column) {
      const double x = column - centre;
      const double y = row - centre;  // downwards
      const int64_t from_column = std::llround(cosine * x - sine * y + centre);
      const int64_t from_row = std::llround(sine * x + cosine * y + centre);
      const bool inside =
          from_row >= 0 && from_row < extent && from_column >= 0 && from_column < extent;
      sources.push_back(inside ? from_row * extent + from_column : -1);
    }
  }
  return sources;
}

}  // namespace

std::vector<uint8_t> RotateNearest(const std::vector<uint8_t>& pixels, int64_t extent,
                                   double degrees) {
  const int64_t picture = extent * extent;
  EVOGRAD_CHECK(picture > 0 && pixels.size() % picture == 0, "the pictures are whole");
  const std::vector<int64_t> sources = Sources(extent, degrees);
  std::vector<uint8_t> rotated(pixels.size());
  for (int64_t first = 0; first < pixels.size(); first += picture) {
    for (int64_t i = 0; i < picture; ++i) {
      if (sources[i] >= 0) rotated[first + i] = pixels[first + sources[i]];
    }
  }
  return rotated;
}

}  // namespace evograd
