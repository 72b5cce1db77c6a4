#include "worker/data/image_loader.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <iterator>
#include <list>
#include <map>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/image_file.h"
#include "worker/data/image_transform.h"

namespace evograd {
namespace {

constexpr absl::Duration kCancelPoll = absl::Milliseconds(50);
constexpr int kChannels = 3;

// Decoded pictures, the least recently used one leaving first.
class ImageCache {
 public:
  explicit ImageCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  std::shared_ptr<const Image> Find(const std::string& path) {
    absl::MutexLock lock(&mutex_);
    const auto found = places_.find(path);
    if (found == places_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->image;
  }

  void Add(const std::string& path, std::shared_ptr<const Image> image) {
    const int64_t bytes = image->pixels.size();
    if (bytes > max_bytes_) return;
    absl::MutexLock lock(&mutex_);
    // Another thread may have read the same file meanwhile.
    if (places_.count(path) > 0) return;
    entries_.push_front({path, std::move(image)});
    places_[path] = entries_.begin();
    bytes_ += bytes;
    while (bytes_ > max_bytes_) {
      bytes_ -= entries_.back().image->pixels.size();
      places_.erase(entries_.back().path);
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    std::string path;
    std::shared_ptr<const Image> image;
  };

  const int64_t max_bytes_;
  absl::Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the most recently used one first
  std::unordered_map<std::string, std::list<Entry>::iterator> places_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Pictures asked for together. Requests are handed out in order, so whatever comes before a failed
// one is under way: the first bad picture is the same however threads run. All but what is
// constant after construction is guarded by the loader's mutex; each picture's part of `data`
// belongs to the thread that was handed it.
struct LoadingBatch {
  std::vector<ImageRequest> requests;  // constant
  at::Tensor images;                   // constant
  float* data = nullptr;               // constant; of `images`
  int64_t bytes = 0;                   // constant

  int64_t next = 0;     // the first request that was not handed out
  int64_t running = 0;  // handed out and not ready
  int64_t failed = -1;  // the first request that is known to be bad
  absl::Status error;   // of it

  bool waiting() const { return failed < 0 && next < requests.size(); }
  bool ready() const { return running == 0 && !waiting(); }
};

using BatchPointer = std::shared_ptr<LoadingBatch>;

absl::Status NoMemory() {
  return absl::ResourceExhaustedError(
      "memory for pictures ran out; use smaller batches or a smaller cache");
}

absl::Status Cancelled() { return absl::CancelledError("loading pictures was cancelled"); }

}  // namespace

struct ImageLoader::Shared {
  Shared(const ImageLoaderOptions& options, const std::atomic<bool>& cancelled)
      : options(options), cancelled(cancelled), cache(options.cache_bytes) {
    EVOGRAD_CHECK(options.extent >= 1 && options.extent <= limits::kMaxImageExtent,
                  "an extent that pictures may have");
    EVOGRAD_CHECK(options.threads >= 1 && options.threads <= limits::kMaxLoaderThreads,
                  "a number of threads in bounds");
    for (int i = 0; i < options.threads; ++i) threads.emplace_back([this] { Run(); });
  }

  ~Shared() {
    {
      absl::MutexLock lock(&mutex);
      stop = true;
    }
    for (std::thread& thread : threads) thread.join();
  }

  int64_t image_floats() const { return int64_t{kChannels} * options.extent * options.extent; }
  int64_t BytesOf(const std::vector<ImageRequest>& requests) const {
    return static_cast<int64_t>(requests.size() * sizeof(float)) * image_floats();
  }

  absl::StatusOr<BatchPointer> MakeBatch(const std::vector<ImageRequest>& requests) const {
    try {
      auto batch = std::make_shared<LoadingBatch>();
      batch->requests = requests;
      batch->images = at::empty(
          {static_cast<int64_t>(requests.size()), kChannels, options.extent, options.extent},
          at::TensorOptions().dtype(at::kFloat));
      batch->data = batch->images.data_ptr<float>();
      batch->bytes = BytesOf(requests);
      return batch;
    } catch (const std::exception&) {
      return NoMemory();
    }
  }

  absl::StatusOr<at::Tensor> Wait(const BatchPointer& batch) {
    absl::MutexLock lock(&mutex);
    urgent.push_back(batch);
    bool left = false;
    while (!batch->ready()) {
      mutex.AwaitWithTimeout(absl::Condition(batch.get(), &LoadingBatch::ready), kCancelPoll);
      if (cancelled.load(std::memory_order_relaxed)) {
        left = true;
        break;
      }
    }
    urgent.erase(std::find(urgent.begin(), urgent.end(), batch));
    if (left) return Cancelled();
    if (batch->failed >= 0) return batch->error;
    return batch->images;
  }

  // What was prefetched for `key`, if it is for these requests; smaller keys are forgotten.
  BatchPointer TakePrefetched(int64_t key, const std::vector<ImageRequest>& requests) {
    absl::MutexLock lock(&mutex);
    while (!prefetched.empty() && prefetched.begin()->first < key) Forget(prefetched.begin());
    const auto found = prefetched.find(key);
    if (found == prefetched.end()) return nullptr;
    BatchPointer batch = found->second;
    Forget(found);
    // A cancellation that is over says nothing about the pictures.
    if (absl::IsCancelled(batch->error) || !(batch->requests == requests)) return nullptr;
    return batch;
  }

  void Prefetch(int64_t key, const std::vector<ImageRequest>& requests) {
    const int64_t bytes = BytesOf(requests);
    if (bytes > options.prefetch_bytes) return;
    // Memory that is not written costs little, should there be no room.
    const absl::StatusOr<BatchPointer> batch = MakeBatch(requests);
    if (!batch.ok()) return;  // Load will say so
    absl::MutexLock lock(&mutex);
    const auto found = prefetched.find(key);
    if (found != prefetched.end()) {
      if (found->second->requests == requests) return;
      Forget(found);
    }
    int64_t smaller_bytes = 0;
    for (const auto& [other, one] : prefetched) smaller_bytes += other < key ? one->bytes : 0;
    if (smaller_bytes + bytes > options.prefetch_bytes) return;
    while (prefetched_bytes + bytes > options.prefetch_bytes) Forget(std::prev(prefetched.end()));
    prefetched[key] = *batch;
    prefetched_bytes += bytes;
  }

  bool IsPrefetched(int64_t key) {
    absl::MutexLock lock(&mutex);
    const auto found = prefetched.find(key);
    return found != prefetched.end() && found->second->ready();
  }

  void Forget(std::map<int64_t, BatchPointer>::iterator which)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    prefetched_bytes -= which->second->bytes;
    prefetched.erase(which);
  }

  // The batch to go on with: those that somebody waits for, then small keys.
  BatchPointer NextBatch() const ABSL_SHARED_LOCKS_REQUIRED(mutex) {
    for (const BatchPointer& batch : urgent) {
      if (batch->waiting()) return batch;
    }
    for (const auto& [key, batch] : prefetched) {
      if (batch->waiting()) return batch;
    }
    return nullptr;
  }

  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex) { return stop || NextBatch() != nullptr; }

  void Run() {
    absl::MutexLock lock(&mutex);
    while (true) {
      mutex.Await(absl::Condition(this, &Shared::HasWork));
      if (stop) return;
      const BatchPointer batch = NextBatch();
      const int64_t index = batch->next++;
      ++batch->running;
      mutex.Unlock();
      absl::Status status = LoadOne(batch->requests[index], batch->data + index * image_floats());
      mutex.Lock();
      --batch->running;
      if (!status.ok() && (batch->failed < 0 || index < batch->failed)) {
        batch->failed = index;
        batch->error = std::move(status);
      }
    }
  }

  absl::Status LoadOne(const ImageRequest& request, float* out) {
    if (cancelled.load(std::memory_order_relaxed)) return Cancelled();
    try {
      std::shared_ptr<const Image> image = cache.Find(request.path);
      if (image == nullptr) {
        EVOGRAD_ASSIGN_OR_RETURN(Image read, ReadImage(request.path));
        image = std::make_shared<const Image>(std::move(read));
        cache.Add(request.path, image);
      }
      if (request.augmentation_seed.has_value()) {
        const Augmentation augmentation =
            DrawAugmentation(image->height, image->width, *request.augmentation_seed);
        TransformForTraining(*image, augmentation, options.extent, out);
      } else {
        TransformForTest(*image, options.extent, out);
      }
      return absl::OkStatus();
    } catch (const std::bad_alloc&) {
      return NoMemory();
    }
  }

  const ImageLoaderOptions options;
  const std::atomic<bool>& cancelled;
  ImageCache cache;

  absl::Mutex mutex;
  std::deque<BatchPointer> urgent ABSL_GUARDED_BY(mutex);
  std::map<int64_t, BatchPointer> prefetched ABSL_GUARDED_BY(mutex);
  int64_t prefetched_bytes ABSL_GUARDED_BY(mutex) = 0;
  bool stop ABSL_GUARDED_BY(mutex) = false;

  std::vector<std::thread> threads;  // last: they use all of the above
};

ImageLoader::ImageLoader(const ImageLoaderOptions& options, const std::atomic<bool>& cancelled)
    : shared_(std::make_unique<Shared>(options, cancelled)) {}

ImageLoader::~ImageLoader() = default;

absl::StatusOr<at::Tensor> ImageLoader::Load(const std::vector<ImageRequest>& requests) {
  if (shared_->cancelled.load(std::memory_order_relaxed)) return Cancelled();
  EVOGRAD_ASSIGN_OR_RETURN(const BatchPointer batch, shared_->MakeBatch(requests));
  return shared_->Wait(batch);
}

absl::StatusOr<at::Tensor> ImageLoader::Load(int64_t key,
                                             const std::vector<ImageRequest>& requests) {
  if (shared_->cancelled.load(std::memory_order_relaxed)) return Cancelled();
  const BatchPointer batch = shared_->TakePrefetched(key, requests);
  return batch == nullptr ? Load(requests) : shared_->Wait(batch);
}

void ImageLoader::Prefetch(int64_t key, const std::vector<ImageRequest>& requests) {
  if (shared_->cancelled.load(std::memory_order_relaxed)) return;
  shared_->Prefetch(key, requests);
}

bool ImageLoader::IsPrefetched(int64_t key) const { return shared_->IsPrefetched(key); }

}  // namespace evograd
