#include "worker/data/image_check.h"

#include <algorithm>
#include <cstdio>
#include <new>
#include <thread>
#include <unordered_set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "worker/data/image_file.h"

namespace evograd {
namespace {

// As many requests as a disk or a file server answers together; the threads wait.
constexpr int kThreads = 32;
// Files that a thread takes at a time: little against the look at one of them.
constexpr int64_t kTaken = 16;
constexpr absl::Duration kPoll = absl::Milliseconds(50);

struct File {
  const std::string* path;
  const ImageList* list;
};

std::vector<File> DifferentFiles(const std::vector<const ImageList*>& lists) {
  std::vector<File> files;
  std::unordered_set<std::string> seen;
  for (const ImageList* list : lists) {
    for (const std::string& path : list->images) {
      if (seen.insert(path).second) files.push_back({&path, list});
    }
  }
  return files;
}

absl::Status LookAt(const std::string& path) {
  try {
    return CheckImageFile(path);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": there is no memory to look at it"));
  }
}

// Files are handed out in order, and what was handed out is looked at, so the first bad file is the
// same however threads run.
class Look {
 public:
  Look(std::vector<File> files, const std::atomic<bool>& cancelled)
      : files_(std::move(files)), cancelled_(cancelled) {}

  absl::Status Run(const ImageCheckOptions& options) {
    std::vector<std::thread> threads;
    const int64_t shares = (size() + kTaken - 1) / kTaken;
    {
      absl::MutexLock lock(&mutex_);
      running_ = static_cast<int>(std::min<int64_t>(kThreads, shares));
    }
    for (int64_t i = 0; i < std::min<int64_t>(kThreads, shares); ++i) {
      threads.emplace_back([this] { LookOn(); });
    }
    Wait(options);
    for (std::thread& thread : threads) thread.join();
    absl::MutexLock lock(&mutex_);
    if (bad_ < size()) return Named(files_[bad_], error_);
    if (cancelled_) return absl::CancelledError("looking at the pictures was cancelled");
    return absl::OkStatus();
  }

 private:
  int64_t size() const { return static_cast<int64_t>(files_.size()); }

  static absl::Status Named(const File& file, const absl::Status& error) {
    std::string text =
        absl::StrCat(std::string(error.message()), "; ", file.list->path, " lists it");
    // What a worker or its disk lacks is in neither.
    if (!absl::IsResourceExhausted(error) && !absl::IsInternal(error)) {
      absl::StrAppend(&text, ": mend the file or the list");
    }
    return absl::Status(error.code(), text);
  }

  void LookOn() {
    while (true) {
      const int64_t begin = next_.fetch_add(kTaken);
      const int64_t end = std::min(begin + kTaken, size());
      for (int64_t i = begin; i < end && !cancelled_.load(std::memory_order_relaxed); ++i) {
        const absl::Status status = LookAt(*files_[i].path);
        ++done_;
        if (!status.ok()) {
          Fail(i, status);
          break;
        }
      }
      absl::MutexLock lock(&mutex_);
      if (begin + kTaken >= size() || bad_ < size() || cancelled_) {
        --running_;
        return;
      }
    }
  }

  void Fail(int64_t index, const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (index >= bad_) return;
    bad_ = index;
    error_ = status;
  }

  bool Ended() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return running_ == 0; }

  bool EndedWithin(absl::Duration time) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(this, &Look::Ended), time);
  }

  void Wait(const ImageCheckOptions& options) {
    absl::Time said = absl::Now();
    do {
      if (absl::Now() - said < options.report_interval) continue;
      said = absl::Now();
      if (options.report != nullptr) {
        options.report(done_, size());
      } else {
        std::fprintf(stderr, "looked at %lld of the job's %lld pictures\n",
                     static_cast<long long>(done_.load()), static_cast<long long>(size()));
      }
    } while (!EndedWithin(std::min(kPoll, options.report_interval)));
  }

  const std::vector<File> files_;
  const std::atomic<bool>& cancelled_;
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> done_{0};

  absl::Mutex mutex_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t bad_ ABSL_GUARDED_BY(mutex_) = static_cast<int64_t>(files_.size());
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::Status CheckImageLists(const std::vector<const ImageList*>& lists,
                             const std::atomic<bool>& cancelled, const ImageCheckOptions& options) {
  return Look(DifferentFiles(lists), cancelled).Run(options);
}

}  // namespace evograd
