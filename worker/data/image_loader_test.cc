// Goal: what is loaded is a pure function of the requests, whatever the threads, the prefetching
// and the cache do; errors and cancellation reach the caller. Method: small files written here,
// compared with the transforms done one by one; many callers at once.
#include "worker/data/image_loader.h"

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "absl/strings/match.h"
#include "worker/data/image_file.h"
#include "worker/data/image_transform.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/data/testing/pictures.h"

namespace evograd {
namespace {

constexpr int kExtent = 16;
constexpr int kFloats = 3 * kExtent * kExtent;
constexpr int64_t kImageBytes = kFloats * 4;

class ImageLoaderTest : public FolderFixture {
 protected:
  ImageLoaderTest() {
    for (int i = 0; i < 12; ++i) {
      const Image picture = MakePicture(20 + i, 30 - i, i, 1);
      paths_.push_back(
          Write(std::to_string(i), i % 2 == 0 ? EncodePng(picture) : EncodeJpeg(picture, 90)));
    }
  }

  // `count` requests, other ones for each `first`.
  std::vector<ImageRequest> Requests(int first, int count) {
    std::vector<ImageRequest> requests;
    for (int i = 0; i < count; ++i) {
      ImageRequest request{paths_[(first + 5 * i) % paths_.size()], std::nullopt};
      if ((first + i) % 3 != 0) request.augmentation_seed = 100 * first + i;
      requests.push_back(request);
    }
    return requests;
  }

  std::vector<float> OneByOne(const std::vector<ImageRequest>& requests) {
    std::vector<float> all(requests.size() * kFloats);
    for (size_t i = 0; i < requests.size(); ++i) {
      const Image image = ReadImage(requests[i].path).value();
      float* out = all.data() + i * kFloats;
      if (requests[i].augmentation_seed.has_value()) {
        TransformForTraining(
            image, DrawAugmentation(image.height, image.width, *requests[i].augmentation_seed),
            kExtent, out);
      } else {
        TransformForTest(image, kExtent, out);
      }
    }
    return all;
  }

  void ExpectLoaded(const absl::StatusOr<at::Tensor>& images,
                    const std::vector<ImageRequest>& requests) {
    ASSERT_TRUE(images.ok()) << images.status();
    const int64_t count = requests.size();
    ASSERT_EQ(images->sizes(), (at::IntArrayRef{count, 3, kExtent, kExtent}));
    const std::vector<float> expected = OneByOne(requests);
    EXPECT_EQ(std::memcmp(images->data_ptr<float>(), expected.data(), expected.size() * 4), 0);
  }

  ImageLoaderOptions Options(int threads, int64_t cache_bytes = 0) {
    ImageLoaderOptions options;
    options.extent = kExtent;
    options.threads = threads;
    options.cache_bytes = cache_bytes;
    return options;
  }

  std::atomic<bool> cancelled_{false};
  std::vector<std::string> paths_;
};

TEST_F(ImageLoaderTest, LoadsInTheOrderOfTheRequests) {
  for (const int threads : {1, 3}) {
    for (const int64_t cache_bytes : {0, 4000, 1 << 20}) {
      ImageLoader loader(Options(threads, cache_bytes), cancelled_);
      for (const int first : {0, 1, 0}) {
        ExpectLoaded(loader.Load(Requests(first, 17)), Requests(first, 17));
      }
      ExpectLoaded(loader.Load({}), {});
    }
  }
}

TEST_F(ImageLoaderTest, PrefetchingChangesNothing) {
  ImageLoader loader(Options(2), cancelled_);
  for (int step = 0; step < 10; ++step) {
    for (int ahead = step; ahead < step + 3; ++ahead) loader.Prefetch(ahead, Requests(ahead, 5));
    ExpectLoaded(loader.Load(step, Requests(step, 5)), Requests(step, 5));
    // Taken: the second time it is loaded anew.
    if (step % 3 == 0) ExpectLoaded(loader.Load(step, Requests(step, 5)), Requests(step, 5));
  }
  // What was prefetched for other requests is not taken, nor what lies before.
  loader.Prefetch(20, Requests(1, 5));
  ExpectLoaded(loader.Load(20, Requests(2, 5)), Requests(2, 5));
  loader.Prefetch(30, Requests(1, 5));
  ExpectLoaded(loader.Load(31, Requests(1, 5)), Requests(1, 5));
}

TEST_F(ImageLoaderTest, PrefetchingReadsAhead) {
  ImageLoader loader(Options(1), cancelled_);
  const std::vector<ImageRequest> requests = Requests(1, 5);
  const std::vector<float> expected = OneByOne(requests);
  EXPECT_FALSE(loader.IsPrefetched(1));
  loader.Prefetch(1, requests);
  while (!loader.IsPrefetched(1)) std::this_thread::yield();
  for (const ImageRequest& request : requests) std::remove(request.path.c_str());
  const auto images = loader.Load(1, requests);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(std::memcmp(images->data_ptr<float>(), expected.data(), expected.size() * 4), 0);
  EXPECT_FALSE(loader.IsPrefetched(1));
  EXPECT_EQ(loader.Load(1, requests).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ImageLoaderTest, SmallKeysComeFirstWithinTheBound) {
  ImageLoaderOptions options = Options(1);
  options.prefetch_bytes = 10 * kImageBytes;
  ImageLoader loader(options, cancelled_);
  const auto prefetch = [&](int key, int count) {
    loader.Prefetch(key, Requests(key, count));
    // Whatever was accepted becomes ready, and the batch of a caller after it.
    return loader.Load(Requests(0, 1)).status();
  };
  const auto wait = [&](int key) {
    while (!loader.IsPrefetched(key)) std::this_thread::yield();
  };
  ASSERT_TRUE(prefetch(1, 4).ok());
  ASSERT_TRUE(prefetch(3, 6).ok());
  wait(1);
  wait(3);
  ASSERT_TRUE(prefetch(4, 1).ok());  // no room
  EXPECT_TRUE(loader.IsPrefetched(3));
  ASSERT_TRUE(prefetch(2, 5).ok());  // takes the room of 3
  wait(2);
  EXPECT_FALSE(loader.IsPrefetched(3));
  EXPECT_FALSE(loader.IsPrefetched(4));
  EXPECT_TRUE(loader.IsPrefetched(1));
  ASSERT_TRUE(prefetch(0, 11).ok());  // more than the bound at once
  EXPECT_FALSE(loader.IsPrefetched(0));
  // The smaller key is forgotten.
  ExpectLoaded(loader.Load(2, Requests(2, 5)), Requests(2, 5));
  EXPECT_FALSE(loader.IsPrefetched(1));
  ExpectLoaded(loader.Load(0, Requests(0, 11)), Requests(0, 11));
}

TEST_F(ImageLoaderTest, CachedPicturesAreNotReadAgain) {
  ImageLoader loader(Options(2, 1 << 20), cancelled_);
  ImageLoader without(Options(2), cancelled_);
  const std::vector<ImageRequest> requests = Requests(0, 12);
  const std::vector<float> expected = OneByOne(requests);
  ASSERT_TRUE(loader.Load(requests).ok());
  ASSERT_TRUE(without.Load(requests).ok());
  for (const std::string& path : paths_) std::remove(path.c_str());
  const auto images = loader.Load(requests);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(std::memcmp(images->data_ptr<float>(), expected.data(), expected.size() * 4), 0);
  EXPECT_EQ(without.Load(requests).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ImageLoaderTest, TheLeastRecentlyUsedPictureLeavesTheCache) {
  // Pictures have 20 x 30 x 3 = 1800 bytes and a few more or fewer: two fit.
  ImageLoader loader(Options(1, 4000), cancelled_);
  const auto load = [&](int i) { return loader.Load({{paths_[i], std::nullopt}}).status(); };
  ASSERT_TRUE(load(0).ok());
  ASSERT_TRUE(load(1).ok());
  ASSERT_TRUE(load(0).ok());
  ASSERT_TRUE(load(2).ok());  // 1 leaves
  for (const std::string& path : paths_) std::remove(path.c_str());
  EXPECT_TRUE(load(0).ok());
  EXPECT_TRUE(load(2).ok());
  EXPECT_EQ(load(1).code(), absl::StatusCode::kNotFound);
}

TEST_F(ImageLoaderTest, TheFirstBadPictureIsTheError) {
  const std::string jpeg = EncodeJpeg(MakePicture(30, 30, 1, 1), 90);
  WriteFileOrDie(paths_[3], jpeg.substr(0, jpeg.size() * 9 / 10));
  std::remove(paths_[8].c_str());
  for (int trial = 0; trial < 20; ++trial) {
    ImageLoader loader(Options(4), cancelled_);
    std::vector<ImageRequest> requests;
    for (const std::string& path : paths_) requests.push_back({path, 7});
    if (trial % 2 == 0) loader.Prefetch(1, requests);
    const absl::Status status = loader.Load(1, requests).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), paths_[3] + ": the JPEG is truncated"))
        << status;
    requests.erase(requests.begin() + 3);
    EXPECT_EQ(loader.Load(1, requests).status().code(), absl::StatusCode::kNotFound);
    requests.erase(requests.begin() + 7);
    EXPECT_TRUE(loader.Load(1, requests).ok());
  }
}

TEST_F(ImageLoaderTest, LoadingCanBeCancelled) {
  ImageLoader loader(Options(1), cancelled_);
  std::vector<ImageRequest> many;
  for (int i = 0; i < 20000; ++i) many.push_back({paths_[i % 12], i});
  loader.Prefetch(1, Requests(1, 5));
  std::thread cancel([this] { cancelled_ = true; });
  // Once, unless the machine is so busy that the thread above comes late.
  absl::Status status;
  while (status.ok()) status = loader.Load(many).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  cancel.join();
  EXPECT_EQ(loader.Load(1, Requests(1, 5)).status().code(), absl::StatusCode::kCancelled);
  loader.Prefetch(2, Requests(2, 5));
  cancelled_ = false;
  ExpectLoaded(loader.Load(1, Requests(1, 5)), Requests(1, 5));
  ExpectLoaded(loader.Load(2, Requests(2, 5)), Requests(2, 5));
}

TEST_F(ImageLoaderTest, EndsWhileBatchesWait) {
  for (int trial = 0; trial < 10; ++trial) {
    ImageLoader loader(Options(3), cancelled_);
    for (int key = 0; key < 20; ++key) loader.Prefetch(key, Requests(key, 500));
  }
}

TEST_F(ImageLoaderTest, ManyCallersAtOnce) {
  for (const int threads : {1, 4}) {
    ImageLoaderOptions options = Options(threads, 9000);
    options.prefetch_bytes = 30 * kImageBytes;
    ImageLoader loader(options, cancelled_);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([this, caller, &loader] {
        for (int step = 0; step < 25; ++step) {
          const int first = caller * 3 + step;
          loader.Prefetch(step + 1, Requests(first + 1, 6));
          ExpectLoaded(loader.Load(step, Requests(first, 6)), Requests(first, 6));
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
}

}  // namespace
}  // namespace evograd
