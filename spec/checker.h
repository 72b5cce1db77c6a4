// Checks of single fields, shared by everything that looks at a JobSpec.
//
//   Checker check;
//   check.InRange("steps", spec.steps(), 1, limits::kMaxSteps);
//   std::vector<FieldViolation> violations = check.Take();
//
// Pure; one thread.
#ifndef EVOGRAD_SPEC_CHECKER_H_
#define EVOGRAD_SPEC_CHECKER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "spec/error.h"

// Sets a field whose zero means "absent".
#define EVOGRAD_DEFAULT_IF_ZERO(message, field, value) \
  if ((message)->field() == 0) (message)->set_##field(value)
#define EVOGRAD_DEFAULT_IF_ABSENT(message, field, value) \
  if (!(message)->has_##field()) (message)->set_##field(value)

namespace evograd {

// Collects violations; the checks' names say what they allow.
class Checker {
 public:
  void Fail(const std::string& field, const std::string& description) {
    violations_.push_back({field, description});
  }

  void InRange(const std::string& field, int64_t value, int64_t low, int64_t high);
  void NotNegative(const std::string& field, int64_t value);
  void Positive(const std::string& field, double value);
  void PositiveOrZero(const std::string& field, double value);
  void Finite(const std::string& field, double value);
  // 0 or more and less than 1.
  void BelowOne(const std::string& field, double value);
  // From 0 to 1.
  void Share(const std::string& field, double value);
  // An absolute path without control characters; `what` is "folder" or "file".
  void Path(const std::string& field, const std::string& path, const std::string& what);
  // A batch of at least one example and no more than there are (`examples` of the field
  // `examples_field`; 0: not known), which can be cut into `virtual_workers` equal shards.
  void Batch(const std::string& field, int64_t batch_size, int64_t examples,
             const std::string& examples_field, int64_t virtual_workers);

  std::vector<FieldViolation> Take() { return std::move(violations_); }

 private:
  std::vector<FieldViolation> violations_;
};

}  // namespace evograd

#endif  // EVOGRAD_SPEC_CHECKER_H_
