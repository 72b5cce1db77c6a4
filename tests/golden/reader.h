// Golden files: one line per tensor, its name and then its numbers.
//
//   const golden::Numbers expected = golden::Read("tests/golden/lenet.txt");
//   golden::ExpectNear(logits, expected.at("logits"), 1e-12, "logits");
#ifndef EVOGRAD_TESTS_GOLDEN_READER_H_
#define EVOGRAD_TESTS_GOLDEN_READER_H_

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace evograd::golden {

using Numbers = std::map<std::string, std::vector<double>>;

inline Numbers Read(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  Numbers numbers;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (double number; words >> number;) numbers[name].push_back(number);
  }
  return numbers;
}

// `tolerance` is relative to the largest expected number, or absolute where that is below 1.
inline void ExpectNear(const at::Tensor& actual, const std::vector<double>& expected,
                       double tolerance, const std::string& what) {
  const at::Tensor values = actual.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  ASSERT_EQ(values.numel(), static_cast<int64_t>(expected.size())) << what;
  double largest = 1;
  for (const double number : expected) largest = std::max(largest, std::abs(number));
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(values.data_ptr<double>()[i], expected[i], tolerance * largest)
        << what << "[" << i << "]";
  }
}

}  // namespace evograd::golden

#endif  // EVOGRAD_TESTS_GOLDEN_READER_H_
