// Label noise for experiments: a matrix of the probabilities with which a class's examples get each
// label, and the labels drawn from it.
//
//   NoiseMatrix noise = FlipNoise(/*classes=*/10, /*rate=*/0.4, /*targets=*/2, /*seed=*/1);
//   uint8_t label = NoisyLabel(noise, clean, seed, example);
//
// The kinds are those of Meta-Weight-Net's published code (github.com/xjtushujun/meta-weight-net,
// load_corrupted_data.py) and the asymmetric one of G. Patrini et al., "Making Deep Neural Networks
// Robust to Label Noise", CVPR 2017.
//
// Threads: pure functions.
#ifndef EVOGRAD_WORKER_DATA_LABEL_NOISE_H_
#define EVOGRAD_WORKER_DATA_LABEL_NOISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evograd {

class NoiseMatrix {
 public:
  // 1 on the diagonal: labels stay clean.
  explicit NoiseMatrix(int classes);

  int classes() const { return classes_; }
  // The probability that an example of class `clean` gets the label `given`; rows sum to 1.
  double at(int clean, int given) const { return values_[clean * classes_ + given]; }
  double& at(int clean, int given) { return values_[clean * classes_ + given]; }
  const std::vector<double>& values() const { return values_; }  // row by row

 private:
  int classes_;
  std::vector<double> values_;
};

// Of `rate` of the labels each is drawn evenly from all classes, the right one included.
NoiseMatrix UniformNoise(int classes, double rate);

// `rate` goes to `targets` (1 or 2; fewer than `classes`) other classes in equal parts, which ones
// is what NumPy's RandomState(`seed`).choice picks class after class: seed 1 gives the matrices of
// the published experiments.
NoiseMatrix FlipNoise(int classes, double rate, int targets, uint32_t seed);

// `rate` goes in equal parts to the other classes of the same coarse class; `coarse` has the coarse
// class of each class. A class alone in its coarse class stays clean.
NoiseMatrix HierarchicalNoise(const std::vector<int>& coarse, double rate);

// `rate` goes to one similar class: truck -> automobile, bird -> airplane, deer -> horse, cat <->
// dog.
NoiseMatrix Cifar10AsymmetricNoise(double rate);

// `rate` goes to the next class, by number, of the same coarse class, from the last one to the
// first.
NoiseMatrix Cifar100AsymmetricNoise(const std::vector<int>& coarse, double rate);

// The coarse class of each class from examples that have both labels; `path` is their file's.
// DATA_LOSS, naming the example, when a class has two, or when a class has no example.
absl::StatusOr<std::vector<int>> CoarseClasses(const std::vector<uint8_t>& labels,
                                               const std::vector<uint8_t>& coarse_labels,
                                               int classes, const std::string& path);

// The label that example number `example` of class `clean` gets: a pure function.
uint8_t NoisyLabel(const NoiseMatrix& noise, uint8_t clean, uint64_t seed, int64_t example);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_LABEL_NOISE_H_
