// Reader of labelled texts for classification: a file of tab-separated columns whose first line
// names them, `label` and `text` among them, in any order.
//
//   label<TAB>text
//   power<TAB>The battery is low.
//
// There is no quoting: a text holds no tab and no line end.
//
// Threads: pure functions of the file. Errors: those of ReadTextLines; DATA_LOSS, naming the file
// and line, for a first line without the two names, a row of another number of columns, a label
// that is not in the set, an empty text, a file without a row.
#ifndef EVOGRAD_WORKER_DATA_TEXT_TABLE_H_
#define EVOGRAD_WORKER_DATA_TEXT_TABLE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/data/label_set.h"

namespace evograd {

struct LabelledText {
  std::string text;
  int label = 0;     // of the LabelSet
  int64_t line = 0;  // from 1
};

struct TextTable {
  std::string path;
  std::vector<LabelledText> rows;
};

absl::StatusOr<TextTable> ReadTextTable(const std::string& path, const LabelSet& labels,
                                        const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_TEXT_TABLE_H_
