#include "worker/data/sentencepiece_tokenizer.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/file_bytes.h"
#include "worker/data/sentencepiece_model.h"

namespace evograd {
namespace {

// SentencePiece's numbers of the special pieces; fairseq puts <pad> among them.
constexpr int kModelUnknown = 0;
constexpr int kModelBegin = 1;
constexpr int kModelEnd = 2;
constexpr int kOffset = 1;

constexpr int64_t kSpecialTokens = 2;

absl::Status CheckSpecial(const SentencePieceModel& model, int id, const char* text,
                          SentencePieceModel::Type type, const std::string& path) {
  if (model.size() > id && model.piece(id) == text && model.type(id) == type) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": its piece ", id, " is not ", text,
      ", as XLM-R's is; give a model that was trained with unk_id 0, bos_id 1 and eos_id 2"));
}

}  // namespace

absl::StatusOr<SentencePieceTokenizer> SentencePieceTokenizer::Open(const std::string& path,
                                                                    bool published_quirks) {
  using Type = SentencePieceModel::Type;
  EVOGRAD_ASSIGN_OR_RETURN(const std::string bytes,
                           ReadTextFile(path, limits::kMaxSentencePieceBytes));
  EVOGRAD_ASSIGN_OR_RETURN(SentencePieceModel model, SentencePieceModel::Parse(bytes, path));
  EVOGRAD_RETURN_IF_ERROR(CheckSpecial(model, kModelUnknown, "<unk>", Type::kUnknown, path));
  EVOGRAD_RETURN_IF_ERROR(CheckSpecial(model, kModelBegin, "<s>", Type::kControl, path));
  EVOGRAD_RETURN_IF_ERROR(CheckSpecial(model, kModelEnd, "</s>", Type::kControl, path));
  return SentencePieceTokenizer(std::make_unique<SentencePieceModel>(std::move(model)),
                                published_quirks);
}

SentencePieceTokenizer::SentencePieceTokenizer(std::unique_ptr<SentencePieceModel> model,
                                               bool published_quirks)
    : model_(std::move(model)), published_quirks_(published_quirks) {}
SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceTokenizer&&) noexcept = default;
SentencePieceTokenizer& SentencePieceTokenizer::operator=(SentencePieceTokenizer&&) noexcept =
    default;
SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::vector<int64_t> SentencePieceTokenizer::Encode(const std::string& text) const {
  std::vector<int64_t> ids;
  for (const int id : model_->Encode(text)) {
    ids.push_back(id == kModelUnknown ? kUnknown : id + kOffset);
  }
  return ids;
}

TokenSequence SentencePieceTokenizer::Finish(TokenSequence pieces, int64_t max_tokens) const {
  EVOGRAD_CHECK(max_tokens >= kSpecialTokens, "a sequence has room for its special tokens");
  TokenSequence sequence = std::move(pieces);
  sequence.untruncated = static_cast<int64_t>(sequence.ids.size()) + 1;
  if (sequence.untruncated > max_tokens) sequence.ids.resize(max_tokens - 1);
  while (!sequence.word_starts.empty() &&
         sequence.word_starts.back() >= static_cast<int64_t>(sequence.ids.size())) {
    sequence.word_starts.pop_back();
  }
  sequence.ids.push_back(end_id());
  return sequence;
}

TokenSequence SentencePieceTokenizer::EncodeText(const std::string& text,
                                                 int64_t max_tokens) const {
  TokenSequence sequence;
  sequence.ids = Encode(text);
  sequence.ids.insert(sequence.ids.begin(), begin_id());
  return Finish(std::move(sequence), max_tokens);
}

TokenSequence SentencePieceTokenizer::EncodeWords(const std::vector<std::string>& words,
                                                  int64_t max_tokens) const {
  TokenSequence sequence;
  sequence.ids.push_back(begin_id());
  for (const std::string& word : words) {
    sequence.word_starts.push_back(static_cast<int64_t>(sequence.ids.size()));
    const std::vector<int64_t> pieces = Encode(word);
    sequence.ids.insert(sequence.ids.end(), pieces.begin(), pieces.end());
    if (pieces.empty()) sequence.ids.push_back(kUnknown);
  }
  return Finish(std::move(sequence), max_tokens);
}

int64_t SentencePieceTokenizer::vocabulary_size() const { return model_->size() + kOffset + 1; }

std::string SentencePieceTokenizer::Piece(int64_t id) const {
  EVOGRAD_CHECK(id >= 0 && id < vocabulary_size(), "an id is the vocabulary's");
  if (id == kBegin) return "<s>";
  if (id == kPad) return "<pad>";
  if (id == kEnd) return "</s>";
  if (id == kUnknown) return "<unk>";
  if (id == mask_id()) return "<mask>";
  return model_->piece(static_cast<int>(id) - kOffset);
}

}  // namespace evograd
