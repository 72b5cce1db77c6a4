// Pictures of a test set, batch by batch.
#ifndef EVOGRAD_WORKER_PROBLEMS_TEST_PICTURES_H_
#define EVOGRAD_WORKER_PROBLEMS_TEST_PICTURES_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace evograd {

struct TestPictures {
  std::vector<std::string> paths;
  int extent = 0;             // pixels a side of what `consume` gets
  int threads = 1;            // that read pictures
  at::TensorOptions options;  // of what `consume` gets
};

// Calls `consume` with pictures [n, 3, extent, extent], transformed as for a test, and the position
// in `paths` of the first of them: all in order, a few at a time, while the next are being read.
// Errors: those of ImageLoader, CANCELLED among them. Throws what LibTorch throws.
absl::Status ForEachTestBatch(
    const TestPictures& pictures, const std::atomic<bool>& cancelled,
    const std::function<void(const at::Tensor& images, int64_t first)>& consume);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_TEST_PICTURES_H_
