// Does to pictures what standard input says, one command a line, and writes the results to standard
// output, for tests/golden:
//
//   read PATH
//   resize PATH TOP LEFT HEIGHT WIDTH TO_HEIGHT TO_WIDTH
//   jitter PATH BRIGHTNESS CONTRAST COLOR
//   train PATH TOP LEFT HEIGHT WIDTH BRIGHTNESS CONTRAST COLOR MIRROR EXTENT
//   test PATH EXTENT
//   draw HEIGHT WIDTH COUNT            augmentations of seeds 0 .. COUNT - 1, 8 doubles each
//
// Each answer is a line "SIZE HEIGHT WIDTH" with SIZE bytes after it (uint8 or float32 or float64),
// or a line "error MESSAGE".
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "worker/data/image_file.h"
#include "worker/data/image_transform.h"

namespace evograd {
namespace {

void Answer(const void* bytes, size_t size, int height, int width) {
  std::cout << size << " " << height << " " << width << "\n";
  std::cout.write(static_cast<const char*>(bytes), size);
}

void Answer(const Image& image) {
  Answer(image.pixels.data(), image.pixels.size(), image.height, image.width);
}

void Draw(std::istringstream& line) {
  int height = 0;
  int width = 0;
  int count = 0;
  line >> height >> width >> count;
  std::vector<double> numbers;
  for (int seed = 0; seed < count; ++seed) {
    const Augmentation one = DrawAugmentation(height, width, seed);
    for (const double number :
         {double(one.crop.top), double(one.crop.left), double(one.crop.height),
          double(one.crop.width), double(one.brightness), double(one.contrast), double(one.color),
          double(one.mirror)}) {
      numbers.push_back(number);
    }
  }
  Answer(numbers.data(), numbers.size() * sizeof(double), count, 8);
}

void Run(const std::string& text) {
  std::istringstream line(text);
  std::string command;
  line >> command;
  if (command == "draw") return Draw(line);
  std::string path;
  line >> path;
  absl::StatusOr<Image> image = ReadImage(path);
  if (!image.ok()) {
    std::cout << "error " << image.status().message() << "\n";
    return;
  }
  Augmentation one;
  int extent = 0;
  if (command == "read") return Answer(*image);
  if (command == "jitter") {
    line >> one.brightness >> one.contrast >> one.color;
    AdjustBrightness(one.brightness, &*image);
    AdjustContrast(one.contrast, &*image);
    AdjustColor(one.color, &*image);
    return Answer(*image);
  }
  if (command == "test") {
    line >> extent;
    std::vector<float> out(size_t{3} * extent * extent);
    TransformForTest(*image, extent, out.data());
    return Answer(out.data(), out.size() * sizeof(float), extent, extent);
  }
  line >> one.crop.top >> one.crop.left >> one.crop.height >> one.crop.width;
  if (command == "resize") {
    int height = 0;
    int width = 0;
    line >> height >> width;
    return Answer(CropAndResize(*image, one.crop, height, width));
  }
  line >> one.brightness >> one.contrast >> one.color >> one.mirror >> extent;
  std::vector<float> out(size_t{3} * extent * extent);
  TransformForTraining(*image, one, extent, out.data());
  Answer(out.data(), out.size() * sizeof(float), extent, extent);
}

}  // namespace
}  // namespace evograd

int main() {
  std::string line;
  while (std::getline(std::cin, line)) evograd::Run(line);
  return std::cout.flush().good() ? 0 : 1;
}
