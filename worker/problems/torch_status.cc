#include "worker/problems/torch_status.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace evograd {
namespace {

// LibTorch's allocator of host memory throws a plain error: only its text tells. So do those of
// the kernel's calls.
constexpr absl::string_view kMemoryTexts[] = {"can't allocate memory", "annot allocate memory",
                                              "out of memory"};
// oneDNN, of a primitive whose descriptor it has: it is possible, and there is no room for its code
// or its scratchpad.
constexpr absl::string_view kOneDnnMemoryTexts[] = {"could not create a primitive",
                                                    "could not create a memory object",
                                                    "could not execute a primitive"};

bool MemoryRanOut(absl::string_view message, absl::string_view line) {
  for (const absl::string_view text : kMemoryTexts) {
    if (absl::StrContains(message, text)) return true;
  }
  return std::find(std::begin(kOneDnnMemoryTexts), std::end(kOneDnnMemoryTexts), line) !=
         std::end(kOneDnnMemoryTexts);
}

absl::Status FromMessage(const std::string& message) {
  const std::string line = message.substr(0, message.find('\n'));
  if (MemoryRanOut(message, line)) {
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
