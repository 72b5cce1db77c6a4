// Counts the bytes of tensors that this thread allocates and frees, on any device, as LibTorch's
// allocators report them.
//
//   MemoryMeter meter;
//   at::Tensor kept = Forward();
//   int64_t bytes = meter.live_bytes();
//
// Counts from its construction on: what was allocated before and is freed meanwhile does not
// count. One meter at a time, on the thread that made it.
#ifndef EVOGRAD_WORKER_ENGINE_MEMORY_METER_H_
#define EVOGRAD_WORKER_ENGINE_MEMORY_METER_H_

#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>

namespace evograd {

class MemoryMeter {
 public:
  MemoryMeter();

  // Allocated since and not yet freed.
  int64_t live_bytes() const;
  // The largest that live_bytes() was.
  int64_t peak_bytes() const;

 private:
  class Counter;
  std::shared_ptr<Counter> counter_;
  c10::DebugInfoGuard guard_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_MEMORY_METER_H_
