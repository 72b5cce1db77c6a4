#include "worker/problems/metaxl_data.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "algo/seed.h"
#include "common/status_macros.h"
#include "worker/data/text_table.h"

namespace evograd {
namespace {

using v1::MetaXl;

// The two subsets of training sentences are drawn apart.
constexpr uint64_t kSourceSubset = 1;
constexpr uint64_t kTargetSubset = 2;

constexpr char kAt[] = "problem.metaxl.";

bool Exists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 || errno != ENOENT;
}

// Sentences or texts as they stand in files, before tokens are made of them.
struct RawExample {
  const std::string* path = nullptr;
  int64_t line = 0;
  std::vector<std::string> words;  // classification: the text alone
  std::vector<int> labels;
};

class Reader {
 public:
  Reader(const MetaXl& spec, const SentencePieceTokenizer& tokenizer, int64_t max_tokens,
         const std::atomic<bool>& cancelled)
      : spec_(spec),
        tokenizer_(tokenizer),
        max_tokens_(max_tokens),
        cancelled_(cancelled),
        tagging_(spec.task() == MetaXl::TAGGING) {}

  absl::StatusOr<MetaXlData> Read() {
    EVOGRAD_ASSIGN_OR_RETURN(data_.labels, ReadLabels());
    if (tagging_) {
      EVOGRAD_ASSIGN_OR_RETURN(data_.tags, TagSet::Create(data_.labels, labels_source_));
      EVOGRAD_RETURN_IF_ERROR(CheckReportedTypes());
    }
    EVOGRAD_RETURN_IF_ERROR(ReadSource());
    return ReadTarget();
  }

 private:
  // How a set of sentences is used: its longest sequence and the field that says so.
  struct Use {
    int64_t tokens = 0;
    const char* field = "";
  };

  Use Training() const {
    return {std::min<int64_t>(spec_.max_sequence_length(), max_tokens_), "max_sequence_length"};
  }
  Use Evaluation() const {
    return {std::min<int64_t>(spec_.evaluation_max_sequence_length(), max_tokens_),
            "evaluation_max_sequence_length"};
  }

  absl::StatusOr<LabelSet> ReadLabels() {
    if (!spec_.labels().empty()) {
      labels_source_ = absl::StrCat(kAt, "labels");
      return LabelSet::Create({spec_.labels().begin(), spec_.labels().end()}, labels_source_);
    }
    labels_source_ = absl::StrCat(spec_.data_dir(), "/labels.txt");
    if (tagging_ && !Exists(labels_source_)) {
      labels_source_ = "the labels of CoNLL";
      return TagSet::Conll().labels();
    }
    return ReadLabelFile(labels_source_, cancelled_);
  }

  absl::Status CheckReportedTypes() const {
    const std::vector<std::string>& types = data_.tags->types();
    for (const std::string& type : spec_.reported_types()) {
      if (std::find(types.begin(), types.end(), type) == types.end()) {
        return absl::InvalidArgumentError(absl::StrCat(kAt, "reported_types: there is no type ",
                                                       type, "; ", labels_source_, " has ",
                                                       absl::StrJoin(types, ", ")));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadSource() {
    std::vector<RawExample> train;
    std::vector<RawExample> dev;
    for (const std::string& language : spec_.source_languages()) {
      // Where the target's sentences are trained on alone, the others need not be there.
      if (spec_.training() == MetaXl::TARGET_ONLY) break;
      EVOGRAD_RETURN_IF_ERROR(ReadFile(language, "train", 0, &train));
      EVOGRAD_RETURN_IF_ERROR(ReadFile(language, "dev", spec_.evaluation_examples(), &dev));
    }
    if (train.empty()) return absl::OkStatus();
    EVOGRAD_RETURN_IF_ERROR(Choose("source_train_size", spec_.source_train_size(), kSourceSubset,
                                   "batch_size", spec_.batch_size(), &train));
    EVOGRAD_ASSIGN_OR_RETURN(data_.source_train, Encode(train, Training()));
    EVOGRAD_ASSIGN_OR_RETURN(data_.source_dev, Encode(dev, Evaluation()));
    return absl::OkStatus();
  }

  absl::StatusOr<MetaXlData> ReadTarget() {
    const std::string& language = spec_.target_language();
    std::vector<RawExample> train;
    std::vector<RawExample> dev;
    std::vector<RawExample> test;
    EVOGRAD_RETURN_IF_ERROR(ReadFile(language, "train", 0, &train));
    EVOGRAD_RETURN_IF_ERROR(ReadFile(language, "dev", spec_.evaluation_examples(), &dev));
    EVOGRAD_RETURN_IF_ERROR(ReadFile(language, "test", spec_.evaluation_examples(), &test));
    EVOGRAD_RETURN_IF_ERROR(Choose("target_train_size", spec_.target_train_size(), kTargetSubset,
                                   "target_batch_size", spec_.target_batch_size(), &train));
    EVOGRAD_ASSIGN_OR_RETURN(data_.target_train, Encode(train, Training()));
    EVOGRAD_ASSIGN_OR_RETURN(data_.target_dev, Encode(dev, Evaluation()));
    EVOGRAD_ASSIGN_OR_RETURN(data_.target_test, Encode(test, Evaluation()));
    return std::move(data_);
  }

  // Appends the file's first `most` examples (0: all).
  absl::Status ReadFile(const std::string& language, const char* split, int64_t most,
                        std::vector<RawExample>* to) {
    const std::string folder = absl::StrCat(spec_.data_dir(), "/", language);
    if (!Exists(folder)) {
      return absl::NotFoundError(absl::StrCat(folder, ": there is no such folder for language ",
                                              language, "; data_dir holds one for each"));
    }
    const std::string path = absl::StrCat(folder, "/", split, tagging_ ? "" : ".tsv");
    paths_.push_back(std::make_unique<std::string>(path));
    const size_t limit = most > 0 ? to->size() + most : to->max_size();
    if (tagging_) {
      EVOGRAD_ASSIGN_OR_RETURN(TaggedFile file,
                               ReadTaggedFile(path, language, *data_.tags, cancelled_));
      for (TaggedSentence& sentence : file.sentences) {
        if (to->size() == limit) break;
        to->push_back({paths_.back().get(), sentence.line, std::move(sentence.words),
                       std::move(sentence.labels)});
      }
      return absl::OkStatus();
    }
    EVOGRAD_ASSIGN_OR_RETURN(TextTable table, ReadTextTable(path, data_.labels, cancelled_));
    for (LabelledText& row : table.rows) {
      if (to->size() == limit) break;
      to->push_back({paths_.back().get(), row.line, {std::move(row.text)}, {row.label}});
    }
    return absl::OkStatus();
  }

  // Keeps `size` of the examples (0: all).
  absl::Status Choose(const char* field, int64_t size, uint64_t subset, const char* batch_field,
                      int64_t batch, std::vector<RawExample>* examples) const {
    const int64_t count = static_cast<int64_t>(examples->size());
    if (size > count) {
      return absl::InvalidArgumentError(absl::StrCat(kAt, field, ": ", size, " is more than the ",
                                                     count, " sentences of ", Files(*examples)));
    }
    if (batch > count) {
      return absl::InvalidArgumentError(absl::StrCat(kAt, batch_field, ": ", batch,
                                                     " is more than the ", count, " sentences of ",
                                                     Files(*examples)));
    }
    if (size == 0) return absl::OkStatus();
    const uint64_t seed = DeriveSeed(spec_.data_seed(), seed_domain::kDataSplit, subset, 0);
    std::vector<RawExample> chosen;
    chosen.reserve(size);
    for (int64_t i = 0; i < size; ++i) {
      chosen.push_back(std::move((*examples)[PermutedIndex(seed, 0, i, count)]));
    }
    *examples = std::move(chosen);
    return absl::OkStatus();
  }

  static std::string Files(const std::vector<RawExample>& examples) {
    const std::string& first = *examples.front().path;
    if (examples.back().path == examples.front().path) return first;
    return absl::StrCat(first, " to ", *examples.back().path);
  }

  absl::StatusOr<Examples> Encode(const std::vector<RawExample>& raw, const Use& use) const {
    Examples examples;
    examples.reserve(raw.size());
    for (const RawExample& example : raw) {
      if (cancelled_.load(std::memory_order_relaxed)) {
        return absl::CancelledError(absl::StrCat(*example.path, ": reading was cancelled"));
      }
      TokenSequence tokens = tagging_ ? tokenizer_.EncodeWords(example.words, use.tokens)
                                      : tokenizer_.EncodeText(example.words[0], use.tokens);
      // A last word that loses pieces but not its first keeps its label.
      const bool lost =
          tagging_ ? tokens.word_starts.size() < example.words.size() : tokens.truncated();
      if (lost && spec_.overlong() != MetaXl::TRUNCATE) {
        return absl::DataLossError(absl::StrCat(
            *example.path, ":", example.line, ": the sentence has ", tokens.untruncated,
            " pieces with its two special ones, more than the ", use.tokens, " of ", use.field,
            use.tokens == max_tokens_ ? " or of the encoder" : "",
            "; set overlong to TRUNCATE, give a longer limit or cut the sentence"));
      }
      examples.push_back({std::move(tokens.ids), std::move(tokens.word_starts), example.labels});
    }
    return examples;
  }

  const MetaXl& spec_;
  const SentencePieceTokenizer& tokenizer_;
  const int64_t max_tokens_;
  const std::atomic<bool>& cancelled_;
  const bool tagging_;
  std::string labels_source_;
  std::vector<std::unique_ptr<std::string>> paths_;  // that RawExamples point to
  MetaXlData data_;
};

}  // namespace

absl::StatusOr<MetaXlData> ReadMetaXlData(const MetaXl& spec,
                                          const SentencePieceTokenizer& tokenizer,
                                          int64_t max_tokens, const std::atomic<bool>& cancelled) {
  return Reader(spec, tokenizer, max_tokens, cancelled).Read();
}

Batch MakeExampleBatch(const Examples& examples, const std::vector<int64_t>& indices,
                       int64_t pad_id, bool tagging, const at::TensorOptions& options) {
  const int64_t count = static_cast<int64_t>(indices.size());
  size_t longest = 0;
  for (const int64_t index : indices) longest = std::max(longest, examples[index].ids.size());
  const int64_t tokens = static_cast<int64_t>(longest);
  const at::Tensor ids = at::full({count, tokens}, pad_id, at::kLong);
  const at::Tensor mask = at::zeros({count, tokens}, at::kBool);
  const at::Tensor labels =
      tagging ? at::full({count, tokens}, kNoLabel, at::kLong) : at::empty({count}, at::kLong);
  int64_t labelled = 0;
  for (int64_t row = 0; row < count; ++row) {
    const Example& example = examples[indices[row]];
    std::copy(example.ids.begin(), example.ids.end(), ids.data_ptr<int64_t>() + row * tokens);
    std::fill_n(mask.data_ptr<bool>() + row * tokens, example.ids.size(), true);
    if (!tagging) {
      labels.data_ptr<int64_t>()[row] = example.labels[0];
      continue;
    }
    for (size_t word = 0; word < example.places.size(); ++word) {
      labels.data_ptr<int64_t>()[row * tokens + example.places[word]] = example.labels[word];
    }
    labelled += static_cast<int64_t>(example.places.size());
  }
  const double scale =
      tagging && labelled > 0 ? static_cast<double>(count) / static_cast<double>(labelled) : 1;
  const at::Device device = options.device();
  return {{ids.to(device), mask.to(device), labels.to(device), at::full({count}, scale, options)}};
}

}  // namespace evograd
