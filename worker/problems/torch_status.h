// The door to LibTorch: runs code that may throw and turns what it threw into a Status.
//
//   return CatchTorch([&]() -> absl::StatusOr<double> { return loss.item<double>(); });
//
// Errors: RESOURCE_EXHAUSTED when memory ran out (host or device), else INTERNAL; both with the
// first line of the exception's message. A Status that the code itself returned passes unchanged.
#ifndef EVOGRAD_WORKER_PROBLEMS_TORCH_STATUS_H_
#define EVOGRAD_WORKER_PROBLEMS_TORCH_STATUS_H_

#include "absl/status/status.h"

namespace evograd {

// Of the exception being handled: to be called in a catch block only.
absl::Status StatusFromCurrentException();

template <typename Function>
auto CatchTorch(Function function) -> decltype(function()) {
  try {
    return function();
  } catch (...) {
    return StatusFromCurrentException();
  }
}

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_TORCH_STATUS_H_
