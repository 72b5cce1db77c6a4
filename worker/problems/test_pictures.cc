#include "worker/problems/test_pictures.h"

#include <algorithm>

#include "common/status_macros.h"
#include "worker/data/image_loader.h"

namespace evograd {
namespace {

// Enough for every core of a convolution, few enough for its maps to stay in a cache of some size.
constexpr int64_t kBatch = 32;

std::vector<ImageRequest> RequestsFrom(const std::vector<std::string>& paths, int64_t first) {
  std::vector<ImageRequest> requests;
  const int64_t end = std::min<int64_t>(first + kBatch, paths.size());
  for (int64_t i = first; i < end; ++i) requests.push_back({paths[i], {}});
  return requests;
}

}  // namespace

absl::Status ForEachTestBatch(
    const TestPictures& pictures, const std::atomic<bool>& cancelled,
    const std::function<void(const at::Tensor& images, int64_t first)>& consume) {
  ImageLoaderOptions options;
  options.extent = pictures.extent;
  options.threads = pictures.threads;
  ImageLoader loader(options, cancelled);
  const int64_t count = static_cast<int64_t>(pictures.paths.size());
  for (int64_t first = 0; first < count; first += kBatch) {
    if (first + kBatch < count) {
      loader.Prefetch(first + kBatch, RequestsFrom(pictures.paths, first + kBatch));
    }
    EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor images,
                             loader.Load(first, RequestsFrom(pictures.paths, first)));
    consume(images.to(pictures.options), first);
  }
  return absl::OkStatus();
}

}  // namespace evograd
