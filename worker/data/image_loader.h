// Threads that read, decode and transform pictures ahead of the step.
//
//   ImageLoader loader({/*extent=*/84, /*threads=*/2}, cancelled);
//   loader.Prefetch(step + 1, requests_of(step + 1));                  // returns at once
//   EVOGRAD_ASSIGN_OR_RETURN(at::Tensor images, loader.Load(step, requests_of(step)));
//
// What Load answers is a pure function of the requests and the files: prefetching, the cache, the
// number of threads and their timing change only when it is there.
//
// Memory: prefetched batches up to `prefetch_bytes`, decoded pictures up to `cache_bytes`, the
// batch being loaded, and per thread one picture being worked on.
//
// Threads: any number of callers. Errors travel to the Load that asked for the picture: those of
// ReadImage (of the batch's first bad picture, whatever came first in time), RESOURCE_EXHAUSTED
// (no memory), CANCELLED (`cancelled` became true, at most a picture and a twentieth of a second
// ago).
#ifndef EVOGRAD_WORKER_DATA_IMAGE_LOADER_H_
#define EVOGRAD_WORKER_DATA_IMAGE_LOADER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace at {
class Tensor;
}  // namespace at

namespace evograd {

struct ImageRequest {
  std::string path;
  // The training transform with the choices that follow from this number; without it the test
  // transform.
  std::optional<uint64_t> augmentation_seed;

  friend bool operator==(const ImageRequest& a, const ImageRequest& b) {
    return a.path == b.path && a.augmentation_seed == b.augmentation_seed;
  }
};

struct ImageLoaderOptions {
  int extent = 224;  // pixels a side of what Load answers
  int threads = 1;
  int64_t prefetch_bytes = int64_t{256} << 20;
  // Decoded pictures, before any transform, are kept up to so many bytes, the least recently used
  // one leaving first: worth it where a whole data set fits. A file that changes is not noticed.
  int64_t cache_bytes = 0;
};

class ImageLoader {
 public:
  // `cancelled` must outlive the loader. It may become false again; what was being loaded meanwhile
  // is loaded anew when it is asked for.
  ImageLoader(const ImageLoaderOptions& options, const std::atomic<bool>& cancelled);
  // Waits for the picture that each thread is at, not for those that wait.
  ~ImageLoader();

  ImageLoader(const ImageLoader&) = delete;
  ImageLoader& operator=(const ImageLoader&) = delete;

  // float32 [requests, 3, extent, extent] in memory of the CPU, in the order of the requests.
  absl::StatusOr<at::Tensor> Load(const std::vector<ImageRequest>& requests);

  // The same; takes what Prefetch(key, requests) began if the requests were these, and forgets what
  // was prefetched for smaller keys. Keys go up with time: 2 step + {0, 1} for two kinds of
  // batches.
  absl::StatusOr<at::Tensor> Load(int64_t key, const std::vector<ImageRequest>& requests);

  // Begins to load, small keys first, after what a caller of Load waits for. Returns at once. Does
  // nothing if `key` is under way already; a batch that does not fit into `prefetch_bytes` beside
  // those of smaller keys is left to Load (those of greater keys give way).
  void Prefetch(int64_t key, const std::vector<ImageRequest>& requests);
  // Whether all of a prefetched batch is there (or its error), so that Load(key) need not wait.
  bool IsPrefetched(int64_t key) const;

 private:
  struct Shared;

  std::unique_ptr<Shared> shared_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IMAGE_LOADER_H_
