// Reader of tagged sentences: CoNLL files in the BIO scheme, and those of PAN-X, whose tokens carry
// the language in front ("en:Rome<TAB>B-LOC"; A. Rahimi et al., ACL 2019).
//
//   EVOGRAD_ASSIGN_OR_RETURN(TagSet tags, TagSet::Create(labels, "labels.txt"));
//   EVOGRAD_ASSIGN_OR_RETURN(TaggedFile train, ReadTaggedFile(path, "en", tags, cancelled));
//
// A line is a word and its tag. With a tab in it, columns are parted by tabs, else by blanks; the
// word is the first column, the tag the last, what is between is left out. Lines of blanks end a
// sentence, lines that begin with -DOCSTART- are left out. A leading "LANGUAGE:" is taken off a
// word where it is exactly the file's language: words may have colons of their own.
//
// A tag is O, B-TYPE or I-TYPE. An I- that does not continue a span of its type begins one, as it
// does for conlleval and seqeval: files from the wild have them.
//
// Threads: pure functions of the file. Errors: those of ReadTextLines; DATA_LOSS, naming the file
// and line, for a line without tag or word, a tag that is malformed or not in the set, a file
// without a sentence.
#ifndef EVOGRAD_WORKER_DATA_BIO_H_
#define EVOGRAD_WORKER_DATA_BIO_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/label_set.h"

namespace evograd {

struct Tag {
  enum class Kind { kOutside, kBegin, kInside };
  Kind kind = Kind::kOutside;
  int type = -1;  // of TagSet::types(); -1 outside
};

// Labels that are tags.
class TagSet {
 public:
  // INVALID_ARGUMENT naming `source` and the label that is no tag, or when O is missing.
  static absl::StatusOr<TagSet> Create(LabelSet labels, absl::string_view source);
  // The nine tags of the CoNLL data, in the order of MetaXL's published code: O, then B- and I- of
  // MISC, PER, ORG and LOC.
  static TagSet Conll();

  int size() const { return labels_.size(); }
  const LabelSet& labels() const { return labels_; }
  const Tag& tag(int label) const { return tags_[label]; }
  int outside() const { return outside_; }  // the label of O
  const std::vector<std::string>& types() const { return types_; }

 private:
  explicit TagSet(LabelSet labels) : labels_(std::move(labels)) {}

  LabelSet labels_;
  std::vector<Tag> tags_;  // by label
  std::vector<std::string> types_;
  int outside_ = 0;
};

struct TaggedSentence {
  std::vector<std::string> words;
  std::vector<int> labels;  // of the TagSet, one per word
  int64_t line = 0;         // of its first word, from 1
};

struct TaggedFile {
  std::string path;
  std::vector<TaggedSentence> sentences;
};

absl::StatusOr<TaggedFile> ReadTaggedFile(const std::string& path, absl::string_view language,
                                          const TagSet& tags, const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_BIO_H_
