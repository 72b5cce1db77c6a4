#include "worker/data/text_table.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "worker/data/text_file.h"

namespace evograd {
namespace {

using Fields = std::vector<absl::string_view>;

// The number of the column of this name, or one past the last.
size_t ColumnOf(const Fields& names, absl::string_view name) {
  return std::find(names.begin(), names.end(), name) - names.begin();
}

}  // namespace

absl::StatusOr<TextTable> ReadTextTable(const std::string& path, const LabelSet& labels,
                                        const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(const TextFile file, ReadTextLines(path, cancelled));
  const Fields names = file.lines.empty() ? Fields() : Fields(absl::StrSplit(file.lines[0], '\t'));
  const size_t label_column = ColumnOf(names, "label");
  const size_t text_column = ColumnOf(names, "text");
  if (label_column == names.size() || text_column == names.size()) {
    return file.Error(0,
                      "the first line must name the columns `label` and `text`, with a tab "
                      "between them");
  }
  TextTable table;
  table.path = path;
  for (size_t i = 1; i < file.lines.size(); ++i) {
    const int64_t line = static_cast<int64_t>(i);
    const Fields fields = absl::StrSplit(file.lines[i], '\t');
    if (fields.size() != names.size()) {
      return file.Error(
          line, absl::StrCat("has ", fields.size(), " columns, the first line has ", names.size()));
    }
    const absl::optional<int> label = labels.Find(fields[label_column]);
    if (!label.has_value()) {
      return file.Error(line, absl::StrCat("there is no label `", fields[label_column],
                                           "`; the labels are ", labels.ToString()));
    }
    if (absl::StripAsciiWhitespace(fields[text_column]).empty()) {
      return file.Error(line, "its text is empty");
    }
    table.rows.push_back({std::string(fields[text_column]), *label, line + 1});
  }
  if (table.rows.empty()) return absl::DataLossError(absl::StrCat(path, ": holds no text"));
  return table;
}

}  // namespace evograd
