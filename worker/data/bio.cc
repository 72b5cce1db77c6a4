#include "worker/data/bio.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "worker/data/text_file.h"

namespace evograd {
namespace {

constexpr char kBlanks[] = " \t";

bool IsTag(absl::string_view name) {
  return name == "O" ||
         (name.size() > 2 && (absl::StartsWith(name, "B-") || absl::StartsWith(name, "I-")));
}

struct Columns {
  absl::string_view word;
  absl::string_view tag;  // empty where there is none
};

Columns ColumnsOf(absl::string_view line) {
  std::vector<absl::string_view> parts = absl::StrSplit(line, '\t');
  if (parts.size() == 1) parts = absl::StrSplit(line, ' ', absl::SkipEmpty());
  if (parts.size() < 2) return {line, ""};
  return {parts.front(), absl::StripAsciiWhitespace(parts.back())};
}

// Reads line by line into sentences.
class Reader {
 public:
  Reader(const TextFile& file, absl::string_view language, const TagSet& tags)
      : file_(file), prefix_(absl::StrCat(language, ":")), tags_(tags) {
    result_.path = file.path;
  }

  absl::StatusOr<TaggedFile> Read() {
    for (size_t i = 0; i < file_.lines.size(); ++i) {
      const std::string& line = file_.lines[i];
      if (line.find_first_not_of(kBlanks) == std::string::npos) {
        EndSentence();
      } else if (!absl::StartsWith(line, "-DOCSTART-")) {
        EVOGRAD_RETURN_IF_ERROR(ReadWord(line, static_cast<int64_t>(i)));
      }
    }
    EndSentence();
    if (result_.sentences.empty()) {
      return absl::DataLossError(absl::StrCat(file_.path, ": holds no sentence"));
    }
    return std::move(result_);
  }

 private:
  void EndSentence() {
    if (sentence_.words.empty()) return;
    result_.sentences.push_back(std::exchange(sentence_, TaggedSentence()));
  }

  absl::Status ReadWord(absl::string_view line, int64_t number) {
    Columns columns = ColumnsOf(line);
    if (columns.tag.empty()) {
      return file_.Error(
          number, absl::StrCat("`", line, "` has no tag; a line is a word, a tab and its tag"));
    }
    absl::ConsumePrefix(&columns.word, prefix_);
    if (columns.word.empty()) {
      return file_.Error(number, absl::StrCat("has the tag ", columns.tag, " but no word"));
    }
    if (!IsTag(columns.tag)) {
      return file_.Error(
          number, absl::StrCat("`", columns.tag, "` is no tag; tags are O, B-TYPE and I-TYPE"));
    }
    const absl::optional<int> label = tags_.labels().Find(columns.tag);
    if (!label.has_value()) {
      return file_.Error(number, absl::StrCat("there is no tag ", columns.tag, "; the labels are ",
                                              tags_.labels().ToString()));
    }
    if (sentence_.words.empty()) sentence_.line = number + 1;
    sentence_.words.emplace_back(columns.word);
    sentence_.labels.push_back(*label);
    return absl::OkStatus();
  }

  const TextFile& file_;
  const std::string prefix_;
  const TagSet& tags_;
  TaggedSentence sentence_;
  TaggedFile result_;
};

}  // namespace

absl::StatusOr<TagSet> TagSet::Create(LabelSet labels, absl::string_view source) {
  const absl::optional<int> outside = labels.Find("O");
  if (!outside.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": O, the tag of words outside all spans, is missing"));
  }
  TagSet set(std::move(labels));
  set.outside_ = *outside;
  for (const std::string& name : set.labels_.names()) {
    if (!IsTag(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": label `", name, "` is no tag; tags are O, B-TYPE and I-TYPE"));
    }
    Tag tag;
    if (name != "O") {
      tag.kind = name[0] == 'B' ? Tag::Kind::kBegin : Tag::Kind::kInside;
      const std::string type = name.substr(2);
      const auto found = std::find(set.types_.begin(), set.types_.end(), type);
      tag.type = static_cast<int>(found - set.types_.begin());
      if (found == set.types_.end()) set.types_.push_back(type);
    }
    set.tags_.push_back(tag);
  }
  return set;
}

TagSet TagSet::Conll() {
  auto labels = LabelSet::Create(
      {"O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"}, "CoNLL");
  EVOGRAD_CHECK(labels.ok(), "the labels are well-formed");
  auto tags = Create(*std::move(labels), "CoNLL");
  EVOGRAD_CHECK(tags.ok(), "the labels are tags");
  return *std::move(tags);
}

absl::StatusOr<TaggedFile> ReadTaggedFile(const std::string& path, absl::string_view language,
                                          const TagSet& tags, const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(const TextFile file, ReadTextLines(path, cancelled));
  return Reader(file, language, tags).Read();
}

}  // namespace evograd
