// One split of labelled images into a clean meta set, equally many of each class, and a training
// set; both sides come from one call, so no meta image is ever trained on.
#ifndef EVOGRAD_WORKER_DATA_META_SPLIT_H_
#define EVOGRAD_WORKER_DATA_META_SPLIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evograd {

struct MetaSplit {
  std::vector<int64_t> meta;   // numbers of examples, ascending
  std::vector<int64_t> train;  // likewise; none of `meta`
};

// `train_examples` 0: all that are not in the meta set; else that many of them, drawn evenly. A
// pure function of its arguments. `path` names the labels' file in messages. INVALID_ARGUMENT, with
// the numbers, when `meta_examples` is no multiple of `classes`, when a class has too few examples
// and when no or too few training examples are left.
absl::StatusOr<MetaSplit> SplitMeta(const std::vector<uint8_t>& labels, int classes,
                                    int64_t meta_examples, int64_t train_examples, uint64_t seed,
                                    const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_META_SPLIT_H_
