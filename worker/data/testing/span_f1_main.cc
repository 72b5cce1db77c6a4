// Scores tagged sentences for tests/golden: reads a file of "ACTUAL<TAB>PREDICTED" lines, a blank
// line after each sentence, and prints precision, recall and F1 of all types together, then a line
// of type, precision, recall, F1 and number of true spans for each type.
//
//   span_f1 FILE LABELS.txt
#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "worker/data/bio.h"
#include "worker/data/label_set.h"
#include "worker/data/span_f1.h"
#include "worker/data/text_file.h"

namespace evograd {
namespace {

absl::Status Run(const std::string& path, const std::string& labels_path) {
  const std::atomic<bool> cancelled{false};
  EVOGRAD_ASSIGN_OR_RETURN(LabelSet labels, ReadLabelFile(labels_path, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(const TagSet tags, TagSet::Create(std::move(labels), labels_path));
  EVOGRAD_ASSIGN_OR_RETURN(const TextFile file, ReadTextLines(path, cancelled));
  SpanF1 score(tags.types().size());
  std::vector<Tag> actual;
  std::vector<Tag> predicted;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    if (file.lines[i].empty()) {
      score.Add(actual, predicted);
      actual.clear();
      predicted.clear();
      continue;
    }
    const std::vector<std::string> columns = absl::StrSplit(file.lines[i], '\t');
    const auto first = tags.labels().Find(columns[0]);
    const auto second = tags.labels().Find(columns.back());
    if (!first || !second) return file.Error(i, "has no two tags");
    actual.push_back(tags.tag(*first));
    predicted.push_back(tags.tag(*second));
  }
  const SpanCounts all = score.overall();
  std::printf("%.17g %.17g %.17g\n", all.precision(), all.recall(), all.f1());
  for (size_t type = 0; type < tags.types().size(); ++type) {
    const SpanCounts& counts = score.of_type(type);
    std::printf("%s %.17g %.17g %.17g %lld\n", tags.types()[type].c_str(), counts.precision(),
                counts.recall(), counts.f1(), static_cast<long long>(counts.actual));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: span_f1 FILE LABELS.txt\n");
    return 2;
  }
  const absl::Status status = evograd::Run(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
