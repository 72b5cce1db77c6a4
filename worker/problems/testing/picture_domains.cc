#include "worker/problems/testing/picture_domains.h"

#include <spng.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr double kPi = 3.14159265358979;

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  EVOGRAD_CHECK(file.good(), "a test writes its files");
}

std::string Png(const std::vector<uint8_t>& pixels, int extent) {
  spng_ctx* const context = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header = {};
  header.width = extent;
  header.height = extent;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  header.bit_depth = 8;
  spng_set_ihdr(context, &header);
  int error =
      spng_encode_image(context, pixels.data(), pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  EVOGRAD_CHECK(error == 0, "a picture is encoded");
  size_t size = 0;
  void* const bytes = spng_get_png_buffer(context, &size, &error);
  std::string png(static_cast<const char*>(bytes), size);
  std::free(bytes);
  spng_ctx_free(context);
  return png;
}

std::vector<uint8_t> Stripes(int domain, int number, int image, int extent) {
  CounterRng rng(DeriveSeed(1, seed_domain::kTrainBatch, domain * 1000 + number, image));
  const double angle = kPi * number / 7;
  const double waves = 2 + number % 3;
  const double shift = rng.Uniform();
  std::vector<uint8_t> pixels;
  for (int y = 0; y < extent; ++y) {
    for (int x = 0; x < extent; ++x) {
      const double along = (x * std::cos(angle) + y * std::sin(angle)) / extent;
      const double wave = 0.6 + 0.4 * std::sin(2 * kPi * (waves * along + shift));
      for (int channel = 0; channel < 3; ++channel) {
        const double tint = channel == domain % 3 ? 1 : 0.4;
        pixels.push_back(static_cast<uint8_t>(215 * tint * wave + 40 * rng.Uniform()));
      }
    }
  }
  return pixels;
}

}  // namespace

void WritePictureDomains(const std::string& folder, const std::vector<PictureDomain>& domains,
                         int extent) {
  mkdir(folder.c_str(), 0700);
  for (size_t domain = 0; domain < domains.size(); ++domain) {
    const PictureDomain& one = domains[domain];
    const std::string place = absl::StrCat(folder, "/", one.name);
    mkdir(place.c_str(), 0700);
    int number = 0;  // over all splits: their classes are disjoint
    for (const char* split : {"base", "val", "novel"}) {
      std::vector<std::string> names;
      std::vector<int> labels;
      std::vector<std::string> classes;
      for (int label = 0; label < one.classes; ++label, ++number) {
        classes.push_back(absl::StrCat("\"stripes", number, "\""));
        for (int image = 0; image < one.images; ++image) {
          const std::string name = absl::StrCat(split, "_", label, "_", image, ".png");
          WriteFile(absl::StrCat(place, "/", name),
                    Png(Stripes(static_cast<int>(domain), number, image, extent), extent));
          names.push_back(absl::StrCat("\"", name, "\""));
          labels.push_back(label);
        }
      }
      WriteFile(absl::StrCat(place, "/", split, ".json"),
                absl::StrCat("{\"label_names\": [", absl::StrJoin(classes, ", "),
                             "], \"image_names\": [", absl::StrJoin(names, ", "),
                             "], \"image_labels\": [", absl::StrJoin(labels, ", "), "]}"));
    }
  }
}

}  // namespace evograd
