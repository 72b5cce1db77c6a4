#include "spec/checker.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

// Smaller and larger numbers vanish or overflow in float32, the narrowest type of a job.
constexpr double kMinPositive = 1e-30;
constexpr double kMaxMagnitude = 1e30;

}  // namespace

void Checker::InRange(const std::string& field, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    Fail(field, absl::StrCat(value, " is outside ", low, " to ", high));
  }
}

void Checker::NotNegative(const std::string& field, int64_t value) {
  if (value < 0) Fail(field, absl::StrCat(value, " is negative; give 0 or more"));
}

// Comparisons are written so that NaN fails them.
void Checker::Positive(const std::string& field, double value) {
  if (!(value >= kMinPositive && value <= kMaxMagnitude)) {
    Fail(field, absl::StrCat(value, " is not allowed; give a number greater than 0 (", kMinPositive,
                             " to ", kMaxMagnitude, ")"));
  }
}

void Checker::PositiveOrZero(const std::string& field, double value) {
  if (!(value >= 0 && value <= kMaxMagnitude)) {
    Fail(field, absl::StrCat(value, " is not allowed; give 0 or a number up to ", kMaxMagnitude));
  }
}

void Checker::Finite(const std::string& field, double value) {
  if (!(value >= -kMaxMagnitude && value <= kMaxMagnitude)) {
    Fail(field, absl::StrCat(value, " is not allowed; give a number between ", -kMaxMagnitude,
                             " and ", kMaxMagnitude));
  }
}

void Checker::BelowOne(const std::string& field, double value) {
  if (!(value >= 0 && value < 1)) {
    Fail(field, absl::StrCat(value, " is not allowed; give 0 or more and less than 1"));
  }
}

void Checker::Share(const std::string& field, double value) {
  if (!(value >= 0 && value <= 1)) {
    Fail(field, absl::StrCat(value, " is not allowed; give a number from 0 to 1"));
  }
}

void Checker::Path(const std::string& field, const std::string& path, const std::string& what) {
  const bool printable = std::none_of(path.begin(), path.end(),
                                      [](unsigned char c) { return absl::ascii_iscntrl(c); });
  if (path.empty()) {
    Fail(field,
         absl::StrCat("is missing; give the ", what, "'s absolute path as the workers see it"));
  } else if (path.size() > limits::kMaxPathBytes) {
    Fail(field, absl::StrCat("is ", path.size(), " bytes long; at most ", limits::kMaxPathBytes,
                             " are allowed"));
  } else if (!printable) {
    Fail(field, "has a control character in it; give a plain path");
  } else if (path.front() != '/') {
    Fail(field,
         absl::StrCat("`", path, "` is relative; give an absolute path as the workers see it"));
  }
}

void Checker::Batch(const std::string& field, int64_t batch_size, int64_t examples,
                    const std::string& examples_field, int64_t virtual_workers) {
  if (batch_size < 1 || batch_size > limits::kMaxBatchSize) {
    InRange(field, batch_size, 1, limits::kMaxBatchSize);
  } else if (examples >= 1 && batch_size > examples) {
    Fail(field, absl::StrCat(batch_size, " is more than the ", examples, " of ", examples_field));
  } else if (virtual_workers >= 1 && batch_size % virtual_workers != 0) {
    Fail(field, absl::StrCat(batch_size, " cannot be cut into ", virtual_workers,
                             " equal shards (virtual_workers); give a multiple of it"));
  }
}

}  // namespace evograd
