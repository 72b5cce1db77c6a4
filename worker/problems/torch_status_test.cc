#include "worker/problems/torch_status.h"

#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

absl::Status Of(const std::string& message) {
  return CatchTorch([&]() -> absl::Status { throw std::runtime_error(message); });
}

TEST(TorchStatusTest, MemoryThatRanOutIsNamedWhoeverRanOutOfIt) {
  for (const char* message :
       {"[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 1 bytes.",
        "CUDA out of memory. Tried to allocate 2.00 GiB", "mmap: Cannot allocate memory",
        "could not create a primitive", "could not execute a primitive"}) {
    const absl::Status status = Of(message);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "memory ran out")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), message)) << status;
  }
  EXPECT_TRUE(
      absl::IsResourceExhausted(CatchTorch([]() -> absl::Status { throw std::bad_alloc(); })));
}

TEST(TorchStatusTest, WhatIsImpossibleIsNoLackOfMemory) {
  for (const char* message : {"could not create a primitive descriptor for a convolution forward",
                              "The size of tensor a (2) must match the size of tensor b (3)"}) {
    EXPECT_TRUE(absl::IsInternal(Of(message))) << Of(message);
  }
}

}  // namespace
}  // namespace evograd
