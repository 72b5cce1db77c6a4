#include "worker/data/label_noise.h"

#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// The numbers of NumPy's frozen RandomState: MT19937, bounded draws by masked rejection
// (https://numpy.org/neps/nep-0019-rng-policy.html).
class NumpyRandomState {
 public:
  explicit NumpyRandomState(uint32_t seed) : bits_(seed) {}

  // Uniform over 0 .. last.
  uint32_t UpTo(uint32_t last) {
    if (last == 0) return 0;
    uint32_t mask = last;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    uint32_t value;
    do {
      value = bits_() & mask;
    } while (value > last);
    return value;
  }

  // choice(values): one of them.
  int Choice(const std::vector<int>& values) { return values[UpTo(values.size() - 1)]; }

  // choice(values, count, replace=False): the beginning of a permutation.
  std::vector<int> Choice(std::vector<int> values, int count) {
    for (uint32_t i = values.size() - 1; i >= 1; --i) std::swap(values[i], values[UpTo(i)]);
    values.resize(count);
    return values;
  }

 private:
  std::mt19937 bits_;
};

// What a class gives away beyond its diagonal.
void Give(int from, int to, double rate, NoiseMatrix* noise) {
  noise->at(from, from) -= rate;
  noise->at(from, to) += rate;
}

// The classes of the same coarse class as `of`, ascending, itself included.
std::vector<int> Siblings(const std::vector<int>& coarse, int of) {
  std::vector<int> siblings;
  for (int other = 0; other < coarse.size(); ++other) {
    if (coarse[other] == coarse[of]) siblings.push_back(other);
  }
  return siblings;
}

}  // namespace

NoiseMatrix::NoiseMatrix(int classes) : classes_(classes), values_(classes * classes, 0.0) {
  for (int i = 0; i < classes; ++i) at(i, i) = 1;
}

NoiseMatrix UniformNoise(int classes, double rate) {
  NoiseMatrix noise(classes);
  for (int clean = 0; clean < classes; ++clean) {
    for (int given = 0; given < classes; ++given) {
      noise.at(clean, given) = rate / classes + (clean == given ? 1 - rate : 0);
    }
  }
  return noise;
}

NoiseMatrix FlipNoise(int classes, double rate, int targets, uint32_t seed) {
  EVOGRAD_CHECK(targets >= 1 && targets <= 2 && classes > targets, "there are other classes");
  NoiseMatrix noise(classes);
  NumpyRandomState random(seed);
  for (int clean = 0; clean < classes; ++clean) {
    std::vector<int> others;
    for (int other = 0; other < classes; ++other) {
      if (other != clean) others.push_back(other);
    }
    const std::vector<int> chosen = targets == 1 ? std::vector<int>{random.Choice(others)}
                                                 : random.Choice(std::move(others), targets);
    noise.at(clean, clean) = 1 - rate;
    for (const int to : chosen) noise.at(clean, to) = rate / targets;
  }
  return noise;
}

NoiseMatrix HierarchicalNoise(const std::vector<int>& coarse, double rate) {
  NoiseMatrix noise(coarse.size());
  for (int clean = 0; clean < coarse.size(); ++clean) {
    const std::vector<int> siblings = Siblings(coarse, clean);
    if (siblings.size() == 1) continue;
    for (const int to : siblings) {
      noise.at(clean, to) = to == clean ? 1 - rate : rate / (siblings.size() - 1);
    }
  }
  return noise;
}

NoiseMatrix Cifar10AsymmetricNoise(double rate) {
  enum { kAirplane, kAutomobile, kBird, kCat, kDeer, kDog, kFrog, kHorse, kShip, kTruck, kClasses };
  NoiseMatrix noise(kClasses);
  Give(kTruck, kAutomobile, rate, &noise);
  Give(kBird, kAirplane, rate, &noise);
  Give(kDeer, kHorse, rate, &noise);
  Give(kCat, kDog, rate, &noise);
  Give(kDog, kCat, rate, &noise);
  return noise;
}

NoiseMatrix Cifar100AsymmetricNoise(const std::vector<int>& coarse, double rate) {
  NoiseMatrix noise(coarse.size());
  for (int clean = 0; clean < coarse.size(); ++clean) {
    const std::vector<int> siblings = Siblings(coarse, clean);
    size_t next = 0;
    while (siblings[next] != clean) ++next;
    next = (next + 1) % siblings.size();
    if (siblings.size() > 1) Give(clean, siblings[next], rate, &noise);
  }
  return noise;
}

absl::StatusOr<std::vector<int>> CoarseClasses(const std::vector<uint8_t>& labels,
                                               const std::vector<uint8_t>& coarse_labels,
                                               int classes, const std::string& path) {
  EVOGRAD_CHECK(labels.size() == coarse_labels.size(), "every example has both labels");
  constexpr int kUnknown = -1;
  std::vector<int> coarse(classes, kUnknown);
  for (size_t i = 0; i < labels.size(); ++i) {
    int& of_class = coarse[labels[i]];
    if (of_class == kUnknown) of_class = coarse_labels[i];
    if (of_class != coarse_labels[i]) {
      return absl::DataLossError(absl::StrCat(path, ": record ", i, " of class ", int{labels[i]},
                                              " has coarse class ", int{coarse_labels[i]},
                                              ", but an earlier one of that class has ", of_class));
    }
  }
  for (int label = 0; label < classes; ++label) {
    if (coarse[label] == kUnknown) {
      return absl::DataLossError(absl::StrCat(path, ": there is no example of class ", label,
                                              ", so its coarse class is not known"));
    }
  }
  return coarse;
}

uint8_t NoisyLabel(const NoiseMatrix& noise, uint8_t clean, uint64_t seed, int64_t example) {
  CounterRng random(DeriveSeed(seed, seed_domain::kLabelNoise, example, 0));
  double left = random.Uniform();
  int last = clean;
  for (int given = 0; given < noise.classes(); ++given) {
    const double probability = noise.at(clean, given);
    if (probability <= 0) continue;
    if (left < probability) return given;
    left -= probability;
    // Rounding may leave a little of the last one's probability.
    last = given;
  }
  return last;
}

}  // namespace evograd
