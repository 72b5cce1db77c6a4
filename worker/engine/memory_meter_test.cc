// Goal: the meter sees what is allocated while it lives, and only that. Method: tensors of known
// sizes come and go, some of them made before the meter.
#include "worker/engine/memory_meter.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <optional>

namespace evograd {
namespace {

TEST(MemoryMeterTest, CountsLiveAndPeak) {
  at::Tensor before = at::zeros({1000}, at::kDouble);
  std::optional<at::Tensor> first;
  MemoryMeter meter;
  EXPECT_EQ(meter.live_bytes(), 0);
  first = at::zeros({100}, at::kDouble);
  EXPECT_EQ(meter.live_bytes(), 800);
  {
    const at::Tensor second = at::zeros({50}, at::kFloat);
    EXPECT_EQ(meter.live_bytes(), 1000);
  }
  before.reset();
  EXPECT_EQ(meter.live_bytes(), 800) << "what was there before does not count";
  first.reset();
  EXPECT_EQ(meter.live_bytes(), 0);
  EXPECT_EQ(meter.peak_bytes(), 1000);
}

TEST(MemoryMeterTest, EndsWithItsScope) {
  {
    const MemoryMeter meter;
    EXPECT_TRUE(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) != nullptr);
  }
  EXPECT_TRUE(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) == nullptr);
}

}  // namespace
}  // namespace evograd
