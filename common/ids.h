// Typed identifiers: a JobId cannot be passed where a WorkerId is meant.
#ifndef EVOGRAD_COMMON_IDS_H_
#define EVOGRAD_COMMON_IDS_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

namespace evograd {

// A string that names one kind of thing. `Tag` is never defined.
template <typename Tag>
class NamedId {
 public:
  NamedId() = default;
  explicit NamedId(std::string value) : value_(std::move(value)) {}

  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }

  friend bool operator==(const NamedId& a, const NamedId& b) { return a.value_ == b.value_; }
  friend bool operator!=(const NamedId& a, const NamedId& b) { return a.value_ != b.value_; }
  friend bool operator<(const NamedId& a, const NamedId& b) { return a.value_ < b.value_; }
  template <typename H>
  friend H AbslHashValue(H h, const NamedId& id) {
    return H::combine(std::move(h), id.value_);
  }
  friend std::ostream& operator<<(std::ostream& out, const NamedId& id) { return out << id.value_; }

 private:
  std::string value_;
};

using JobId = NamedId<struct JobIdTag>;        // the last part of `jobs/{job_id}`
using WorkerId = NamedId<struct WorkerIdTag>;  // the last part of `workers/{worker_id}`

// A worker group's number within its job: 1, 2, 3, …; 0 before the first.
struct Generation {
  int64_t value = 0;
  friend bool operator==(Generation a, Generation b) { return a.value == b.value; }
  friend bool operator!=(Generation a, Generation b) { return a.value != b.value; }
  friend bool operator<(Generation a, Generation b) { return a.value < b.value; }
};

}  // namespace evograd

#endif  // EVOGRAD_COMMON_IDS_H_
