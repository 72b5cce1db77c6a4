#include "worker/problems/testing/picture_domains.h"

#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "algo/seed.h"
#include "worker/data/testing/pictures.h"

namespace evograd {
namespace {

constexpr double kPi = 3.14159265358979;

Image Stripes(int domain, int number, int image, int extent) {
  CounterRng rng(DeriveSeed(1, seed_domain::kTrainBatch, domain * 1000 + number, image));
  const double angle = kPi * number / 7;
  const double waves = 2 + number % 3;
  const double shift = rng.Uniform();
  Image picture{extent, extent, {}};
  for (int y = 0; y < extent; ++y) {
    for (int x = 0; x < extent; ++x) {
      const double along = (x * std::cos(angle) + y * std::sin(angle)) / extent;
      const double wave = 0.6 + 0.4 * std::sin(2 * kPi * (waves * along + shift));
      for (int channel = 0; channel < 3; ++channel) {
        const double tint = channel == domain % 3 ? 1 : 0.4;
        picture.pixels.push_back(static_cast<uint8_t>(215 * tint * wave + 40 * rng.Uniform()));
      }
    }
  }
  return picture;
}

}  // namespace

void WritePictureDomains(const std::string& folder, const std::vector<PictureDomain>& domains,
                         int extent) {
  for (size_t domain = 0; domain < domains.size(); ++domain) {
    const PictureDomain& one = domains[domain];
    const std::string place = absl::StrCat(folder, "/", one.name);
    MakeFolderOrDie(place);
    int number = 0;  // over all splits: their classes are disjoint
    for (const char* split : {"base", "val", "novel"}) {
      std::vector<std::string> names;
      std::vector<int> labels;
      std::vector<std::string> classes;
      for (int label = 0; label < one.classes; ++label, ++number) {
        classes.push_back(absl::StrCat("\"stripes", number, "\""));
        for (int image = 0; image < one.images; ++image) {
          const std::string name = absl::StrCat(split, "_", label, "_", image, ".png");
          WriteFileOrDie(absl::StrCat(place, "/", name),
                         EncodePng(Stripes(static_cast<int>(domain), number, image, extent)));
          names.push_back(absl::StrCat("\"", name, "\""));
          labels.push_back(label);
        }
      }
      WriteFileOrDie(absl::StrCat(place, "/", split, ".json"),
                     absl::StrCat("{\"label_names\": [", absl::StrJoin(classes, ", "),
                                  "], \"image_names\": [", absl::StrJoin(names, ", "),
                                  "], \"image_labels\": [", absl::StrJoin(labels, ", "), "]}"));
    }
  }
}

}  // namespace evograd
