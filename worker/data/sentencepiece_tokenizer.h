// Text to the token ids of XLM-R (Conneau et al. 2020): a SentencePiece model and fairseq's order
// of ids, <s> 0, <pad> 1, </s> 2, <unk> 3, then SentencePiece's pieces at their number + 1, <mask>
// last.
//
//   EVOGRAD_ASSIGN_OR_RETURN(SentencePieceTokenizer tokenizer,
//                            SentencePieceTokenizer::Open("/models/base/sentencepiece.bpe.model"));
//   TokenSequence text = tokenizer.EncodeText("Grüße aus Köln", /*max_tokens=*/128);
//   TokenSequence words = tokenizer.EncodeWords({"Grüße", "aus", "Köln"}, 128);
//   words.ids[words.word_starts[2]];  // the first piece of "Köln", which carries its label
//
// Names of special tokens within a text ("</s>") are text like any other. Bytes that are not UTF-8
// become U+FFFD, as in SentencePiece.
//
// Threads: immutable once open; any number may encode at once. Errors of Open, naming the file:
// NOT_FOUND, PERMISSION_DENIED, DATA_LOSS (not a SentencePiece model, or damaged),
// INVALID_ARGUMENT (its special pieces are not XLM-R's), RESOURCE_EXHAUSTED (larger than
// limits::kMaxSentencePieceBytes).
#ifndef EVOGRAD_WORKER_DATA_SENTENCEPIECE_TOKENIZER_H_
#define EVOGRAD_WORKER_DATA_SENTENCEPIECE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evograd {

class SentencePieceModel;

struct TokenSequence {
  std::vector<int64_t> ids;  // begin token, pieces, end token
  // EncodeWords: where in `ids` each word's first piece is; words beyond the truncation are absent.
  std::vector<int64_t> word_starts;
  int64_t untruncated = 0;  // how many ids there were before truncation

  bool truncated() const { return untruncated > static_cast<int64_t>(ids.size()); }
};

class SentencePieceTokenizer {
 public:
  // `published_quirks`: as the MetaXL reference does, <unk> stands for the begin and end token, and
  // padding is id 0 (reference: its [CLS] and [SEP] are no pieces of XLM-R).
  static absl::StatusOr<SentencePieceTokenizer> Open(const std::string& path,
                                                     bool published_quirks = false);

  SentencePieceTokenizer(SentencePieceTokenizer&&) noexcept;
  SentencePieceTokenizer& operator=(SentencePieceTokenizer&&) noexcept;
  ~SentencePieceTokenizer();

  // Pieces alone: no special tokens, no truncation. Text without any (empty, blanks) has none.
  std::vector<int64_t> Encode(const std::string& text) const;

  // A sequence of at most `max_tokens` (2 or more), special tokens included: what is too long loses
  // its last pieces, never the end token.
  TokenSequence EncodeText(const std::string& text, int64_t max_tokens) const;
  // Each word is encoded by itself, as if after a blank; one that has no piece (invisible
  // characters) is one <unk>, so that every word has a place. Truncation may cut within a word.
  TokenSequence EncodeWords(const std::vector<std::string>& words, int64_t max_tokens) const;

  // Ids are below it: <mask>'s is the last.
  int64_t vocabulary_size() const;
  int64_t begin_id() const { return published_quirks_ ? kUnknown : kBegin; }
  int64_t end_id() const { return published_quirks_ ? kUnknown : kEnd; }
  int64_t pad_id() const { return published_quirks_ ? kBegin : kPad; }
  int64_t unknown_id() const { return kUnknown; }
  int64_t mask_id() const { return vocabulary_size() - 1; }
  // The text of a token, "▁" for a blank before it.
  std::string Piece(int64_t id) const;

 private:
  static constexpr int64_t kBegin = 0;
  static constexpr int64_t kPad = 1;
  static constexpr int64_t kEnd = 2;
  static constexpr int64_t kUnknown = 3;

  SentencePieceTokenizer(std::unique_ptr<SentencePieceModel> model, bool published_quirks);
  TokenSequence Finish(TokenSequence pieces, int64_t max_tokens) const;

  std::unique_ptr<SentencePieceModel> model_;
  bool published_quirks_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_SENTENCEPIECE_TOKENIZER_H_
