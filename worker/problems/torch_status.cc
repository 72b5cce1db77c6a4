#include "worker/problems/torch_status.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

absl::Status FromMessage(const std::string& message) {
  const std::string line = message.substr(0, message.find('\n'));
  // LibTorch's allocator of host memory throws a plain error: only its text tells.
  if (absl::StrContains(message, "can't allocate memory") ||
      absl::StrContains(message, "out of memory")) {
    return absl::ResourceExhaustedError(
        absl::StrCat("memory ran out; use a smaller batch or model, or a larger device: ", line));
  }
  return absl::InternalError(absl::StrCat("LibTorch: ", line));
}

}  // namespace

absl::Status StatusFromCurrentException() {
  try {
    throw;
  } catch (const c10::Error& error) {
    return FromMessage(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return FromMessage("out of memory");
  } catch (const std::exception& error) {
    return FromMessage(error.what());
  } catch (...) {
    return absl::InternalError("LibTorch: an exception of unknown type");
  }
}

}  // namespace evograd
