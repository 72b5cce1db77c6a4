#include "worker/engine/memory_meter.h"

#include <c10/core/Allocator.h>

#include <algorithm>
#include <unordered_map>

namespace evograd {

class MemoryMeter::Counter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* pointer, int64_t bytes, size_t, size_t, c10::Device) override {
    if (bytes >= 0) {
      sizes_[pointer] = bytes;
      live_ += bytes;
      peak_ = std::max(peak_, live_);
      return;
    }
    const auto found = sizes_.find(pointer);
    if (found == sizes_.end()) return;
    live_ -= found->second;
    sizes_.erase(found);
  }
  bool memoryProfilingEnabled() const override { return true; }

  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }

 private:
  std::unordered_map<void*, int64_t> sizes_;
  int64_t live_ = 0;
  int64_t peak_ = 0;
};

MemoryMeter::MemoryMeter()
    : counter_(std::make_shared<Counter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}

int64_t MemoryMeter::live_bytes() const { return counter_->live(); }
int64_t MemoryMeter::peak_bytes() const { return counter_->peak(); }

}  // namespace evograd
