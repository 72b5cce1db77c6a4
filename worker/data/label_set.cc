#include "worker/data/label_set.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/text_file.h"

namespace evograd {
namespace {

constexpr size_t kShown = 20;

// What is wrong with a label's name; empty where nothing is.
std::string Fault(absl::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > limits::kMaxLabelBytes) {
    return absl::StrCat("is ", name.size(), " bytes long; at most ", limits::kMaxLabelBytes,
                        " are allowed");
  }
  const bool blank = std::any_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isspace(c) || absl::ascii_iscntrl(c);
  });
  return blank ? "has a blank or a control character in it" : "";
}

}  // namespace

absl::StatusOr<LabelSet> LabelSet::Create(std::vector<std::string> names,
                                          absl::string_view source) {
  if (names.empty() || names.size() > limits::kMaxLabels) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": has ", names.size(), " labels; give 1 to ", limits::kMaxLabels));
  }
  LabelSet labels;
  for (const std::string& name : names) {
    std::string fault = Fault(name);
    if (fault.empty() && !labels.numbers_.emplace(name, labels.numbers_.size()).second) {
      fault = "stands there twice";
    }
    if (!fault.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": label `", name.substr(0, limits::kMaxLabelBytes), "` ", fault));
    }
  }
  labels.names_ = std::move(names);
  return labels;
}

absl::optional<int> LabelSet::Find(absl::string_view name) const {
  const auto found = numbers_.find(name);
  if (found == numbers_.end()) return absl::nullopt;
  return found->second;
}

std::string LabelSet::ToString() const {
  const size_t shown = std::min(kShown, names_.size());
  std::string text = absl::StrJoin(names_.begin(), names_.begin() + shown, ", ");
  if (shown < names_.size()) absl::StrAppend(&text, " and ", names_.size() - shown, " more");
  return text;
}

absl::StatusOr<LabelSet> ReadLabelFile(const std::string& path,
                                       const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(TextFile file, ReadTextLines(path, cancelled));
  std::vector<std::string> names;
  for (std::string& line : file.lines) {
    if (!line.empty()) names.push_back(std::move(line));
  }
  absl::StatusOr<LabelSet> labels = LabelSet::Create(std::move(names), path);
  if (!labels.ok()) return absl::DataLossError(labels.status().message());
  return labels;
}

}  // namespace evograd
