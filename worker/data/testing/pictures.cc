#include "worker/data/testing/pictures.h"

#include <spng.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {

Image MakePicture(int height, int width, uint64_t pattern, uint64_t seed) {
  CounterRng shape(pattern);
  CounterRng noise(DeriveSeed(seed, seed_domain::kAugmentation, pattern, 0));
  Image image;
  image.height = height;
  image.width = width;
  double wave[3][3];
  for (auto& channel : wave) {
    for (double& number : channel) number = shape.Uniform();
  }
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const auto& channel : wave) {
        const double angle =
            6.3 * (2 * channel[0] * y / height + 2 * channel[1] * x / width + channel[2]);
        const double value = 128 + 90 * std::sin(angle) + 40 * (noise.Uniform() - 0.5);
        image.pixels.push_back(static_cast<uint8_t>(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return image;
}

std::string EncodePng(const Image& image) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> encoder(spng_ctx_new(SPNG_CTX_ENCODER),
                                                               &spng_ctx_free);
  spng_set_option(encoder.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header = {};
  header.width = image.width;
  header.height = image.height;
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(encoder.get(), &header);
  int error = spng_encode_image(encoder.get(), image.pixels.data(), image.pixels.size(),
                                SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  size_t size = 0;
  const std::unique_ptr<void, void (*)(void*)> bytes(
      error == 0 ? spng_get_png_buffer(encoder.get(), &size, &error) : nullptr, &std::free);
  EVOGRAD_CHECK(error == 0 && bytes != nullptr, "a PNG is made");
  return std::string(static_cast<const char*>(bytes.get()), size);
}

std::string EncodeJpeg(const Image& image, int quality) {
  const std::unique_ptr<void, int (*)(tjhandle)> encoder(tjInitCompress(), &tjDestroy);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const int error = tjCompress2(encoder.get(), image.pixels.data(), image.width, /*pitch=*/0,
                                image.height, TJPF_RGB, &bytes, &size, TJSAMP_420, quality, 0);
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owner(bytes, &tjFree);
  EVOGRAD_CHECK(error == 0, "a JPEG is made");
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

void WriteFileOrDie(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  EVOGRAD_CHECK(file.good(), "a file of a test can be written");
}

void MakeFolderOrDie(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  EVOGRAD_CHECK(!error, "a folder of a test can be made");
}

std::string WriteDomain(const std::string& folder, const std::string& split, int classes,
                        int images, int extent) {
  std::vector<std::string> label_names;
  std::vector<std::string> image_names;
  std::vector<int> labels;
  for (int label = 0; label < classes; ++label) {
    label_names.push_back(absl::StrCat("\"class ", label, "\""));
    const std::string names = absl::StrCat(split, "/", label);
    MakeFolderOrDie(absl::StrCat(folder, "/", names));
    for (int i = 0; i < images; ++i) {
      const std::string name = absl::StrCat(names, "/", i, ".png");
      WriteFileOrDie(absl::StrCat(folder, "/", name),
                     EncodePng(MakePicture(extent, extent, label, i)));
      image_names.push_back(absl::StrCat("\"", name, "\""));
      labels.push_back(label);
    }
  }
  const std::string path = absl::StrCat(folder, "/", split, ".json");
  WriteFileOrDie(path, absl::StrCat("{\"label_names\": [", absl::StrJoin(label_names, ", "),
                                    "], \"image_names\": [", absl::StrJoin(image_names, ", "),
                                    "], \"image_labels\": [", absl::StrJoin(labels, ", "), "]}\n"));
  return path;
}

}  // namespace evograd
