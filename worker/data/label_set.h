// The names of a classifier's classes, in the order of its outputs.
//
//   EVOGRAD_ASSIGN_OR_RETURN(LabelSet labels, ReadLabelFile("/data/xl/labels.txt", cancelled));
//   labels.Find("B-PER")    // its number, or nullopt
//
// Threads: immutable. Errors: INVALID_ARGUMENT or, for a file, DATA_LOSS, naming the source and the
// label: none at all, more than limits::kMaxLabels, one twice, one that is empty, longer than
// limits::kMaxLabelBytes or with a blank or control character in it.
#ifndef EVOGRAD_WORKER_DATA_LABEL_SET_H_
#define EVOGRAD_WORKER_DATA_LABEL_SET_H_

#include <atomic>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace evograd {

class LabelSet {
 public:
  // `source` (a field or a file) is what errors name.
  static absl::StatusOr<LabelSet> Create(std::vector<std::string> names, absl::string_view source);

  int size() const { return static_cast<int>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  absl::optional<int> Find(absl::string_view name) const;
  // The names, or the first of many, for a message.
  std::string ToString() const;

 private:
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, int> numbers_;
};

// One label a line; empty lines are left out. Also ReadTextLines's errors.
absl::StatusOr<LabelSet> ReadLabelFile(const std::string& path, const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_LABEL_SET_H_
