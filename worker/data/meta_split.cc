#include "worker/data/meta_split.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "algo/seed.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// `count` of the elements of `from` in the order of a draw of its own.
std::vector<int64_t> Draw(const std::vector<int64_t>& from, int64_t count, uint64_t seed) {
  std::vector<int64_t> drawn;
  for (int64_t i = 0; i < count; ++i) {
    drawn.push_back(from[PermutedIndex(seed, /*epoch=*/0, i, from.size())]);
  }
  return drawn;
}

}  // namespace

absl::StatusOr<MetaSplit> SplitMeta(const std::vector<uint8_t>& labels, int classes,
                                    int64_t meta_examples, int64_t train_examples, uint64_t seed,
                                    const std::string& path) {
  EVOGRAD_CHECK(classes > 0, "there are classes");
  if (meta_examples % classes != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("meta_examples: ", meta_examples, " cannot be shared equally by the ", classes,
                     " classes of ", path, "; give a multiple of ", classes));
  }
  const int64_t each = meta_examples / classes;
  std::vector<std::vector<int64_t>> by_class(classes);
  for (size_t i = 0; i < labels.size(); ++i) by_class[labels[i]].push_back(i);

  MetaSplit split;
  for (int label = 0; label < classes; ++label) {
    const std::vector<int64_t>& examples = by_class[label];
    if (static_cast<int64_t>(examples.size()) < each) {
      return absl::InvalidArgumentError(absl::StrCat(
          "meta_examples: ", meta_examples, " are ", each, " of each class, but class ", label,
          " of ", path, " has only ", examples.size(), " images; give fewer"));
    }
    const std::vector<int64_t> drawn =
        Draw(examples, each, DeriveSeed(seed, seed_domain::kDataSplit, label, 0));
    split.meta.insert(split.meta.end(), drawn.begin(), drawn.end());
  }
  std::sort(split.meta.begin(), split.meta.end());

  for (int64_t i = 0; i < static_cast<int64_t>(labels.size()); ++i) {
    if (!std::binary_search(split.meta.begin(), split.meta.end(), i)) split.train.push_back(i);
  }
  const int64_t left = split.train.size();
  if (left == 0 || train_examples > left) {
    return absl::InvalidArgumentError(
        absl::StrCat("train_examples: ", std::max<int64_t>(train_examples, 1), " is more than the ",
                     left, " images that meta_examples (", meta_examples, ") leaves of the ",
                     labels.size(), " of ", path));
  }
  if (train_examples > 0) {
    split.train =
        Draw(split.train, train_examples, DeriveSeed(seed, seed_domain::kDataSplit, classes, 1));
    std::sort(split.train.begin(), split.train.end());
  }
  return split;
}

}  // namespace evograd
