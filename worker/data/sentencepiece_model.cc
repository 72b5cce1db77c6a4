#include "worker/data/sentencepiece_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "the numbers of a model file are little-endian"
#endif

namespace evograd {
namespace {

constexpr absl::string_view kBlank = "\xe2\x96\x81";        // U+2581
constexpr absl::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
// How much less likely than the least likely piece an unknown character is; the library's figure.
constexpr float kUnknownPenalty = 10;

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("is no SentencePiece model, or damaged: ", what, "; get the file again"));
}

// Fields of a protocol buffer (https://protobuf.dev/programming-guides/encoding).
class WireReader {
 public:
  explicit WireReader(absl::string_view bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }
  uint64_t field() const { return field_; }
  // The value of the last field: a number, or bytes.
  uint64_t number() const { return number_; }
  absl::string_view bytes() const { return bytes_; }
  bool is_bytes() const { return wire_ == kBytes; }
  bool is_number() const { return wire_ == kVarint; }
  bool is_fixed32() const { return wire_ == kFixed32; }

  // False where the bytes are no message.
  bool Next() {
    uint64_t tag = 0;
    if (!Varint(&tag) || tag >> 3 == 0) return false;
    field_ = tag >> 3;
    wire_ = static_cast<int>(tag & 7);
    switch (wire_) {
      case kVarint:
        return Varint(&number_);
      case kFixed64:
        return Take(8);
      case kFixed32:
        if (!Take(4)) return false;
        number_ = 0;
        std::memcpy(&number_, bytes_.data(), 4);
        return true;
      case kBytes: {
        uint64_t size = 0;
        return Varint(&size) && Take(size);
      }
      default:
        return false;
    }
  }

 private:
  enum { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      *value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Take(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  absl::string_view rest_;
  uint64_t field_ = 0;
  int wire_ = kVarint;
  uint64_t number_ = 0;
  absl::string_view bytes_;
};

// Bytes of the character that `text` begins with; 0 where it is not UTF-8.
size_t CharacterBytes(absl::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const size_t size = (byte(0) & 0xe0) == 0xc0   ? 2
                      : (byte(0) & 0xf0) == 0xe0 ? 3
                      : (byte(0) & 0xf8) == 0xf0 ? 4
                                                 : 0;
  if (size == 0 || text.size() < size) return 0;
  uint32_t code = byte(0) & (0x7f >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool valid = code >= kLeast[size] && (code < 0xd800 || code >= 0xe000) && code <= 0x10ffff;
  return valid ? size : 0;
}

// Units of the double array (darts-clone): the label that leads here, where the children are, and
// whether the first of them is a value.
uint32_t Label(uint32_t unit) { return unit & (uint32_t{1} << 31 | 0xff); }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & (1 << 9)) >> 6); }
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Value(uint32_t unit) { return unit & ~(uint32_t{1} << 31); }

}  // namespace

absl::Status SentencePieceModel::ParsePiece(absl::string_view message) {
  PieceEntry entry;
  for (WireReader reader(message); !reader.done();) {
    if (!reader.Next()) return Damaged(absl::StrCat("piece ", pieces_.size()));
    if (reader.field() == 1 && reader.is_bytes()) entry.text = std::string(reader.bytes());
    if (reader.field() == 2 && reader.is_fixed32()) {
      const auto bits = static_cast<uint32_t>(reader.number());
      std::memcpy(&entry.score, &bits, sizeof bits);
    }
    if (reader.field() == 3 && reader.is_number()) {
      if (reader.number() < 1 || reader.number() > 6) {
        return Damaged(absl::StrCat("the type of piece ", pieces_.size()));
      }
      entry.type = static_cast<Type>(reader.number());
    }
  }
  if (entry.text.empty()) return Damaged(absl::StrCat("piece ", pieces_.size(), " is empty"));
  if (!std::isfinite(entry.score)) {
    return Damaged(absl::StrCat("the score of piece ", pieces_.size()));
  }
  if (entry.type == Type::kByte || entry.type == Type::kUserDefined) {
    return absl::UnimplementedError(absl::StrCat(
        "piece ", pieces_.size(), " is ", entry.type == Type::kByte ? "a byte" : "user-defined",
        ", which is not read here; give a model without byte fallback and user-defined symbols"));
  }
  pieces_.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status SentencePieceModel::ParseTrainer(absl::string_view message) {
  constexpr int kModelType = 3, kSuffix = 24, kByteFallback = 35;
  constexpr int kUnigram = 1;
  for (WireReader reader(message); !reader.done();) {
    if (!reader.Next()) return Damaged("its trainer_spec");
    if (!reader.is_number()) continue;
    if (reader.field() == kModelType && reader.number() != kUnigram) {
      return absl::UnimplementedError(
          "its model_type is not UNIGRAM; give a unigram model, as XLM-R's is");
    }
    if ((reader.field() == kSuffix || reader.field() == kByteFallback) && reader.number() != 0) {
      return absl::UnimplementedError(absl::StrCat(
          "its ", reader.field() == kSuffix ? "treat_whitespace_as_suffix" : "byte_fallback",
          " is on; give a model without it, as XLM-R's is"));
    }
  }
  return absl::OkStatus();
}

absl::Status SentencePieceModel::ParseNormaliser(absl::string_view message) {
  for (WireReader reader(message); !reader.done();) {
    if (!reader.Next()) return Damaged("its normalizer_spec");
    if (reader.field() == 2 && reader.is_bytes()) {
      EVOGRAD_RETURN_IF_ERROR(ParseCharacters(reader.bytes()));
    }
    if (!reader.is_number()) continue;
    if (reader.field() == 3) add_dummy_prefix_ = reader.number() != 0;
    if (reader.field() == 4) remove_extra_whitespaces_ = reader.number() != 0;
    if (reader.field() == 5) escape_whitespaces_ = reader.number() != 0;
  }
  return absl::OkStatus();
}

absl::Status SentencePieceModel::ParseCharacters(absl::string_view blob) {
  if (blob.empty()) return absl::OkStatus();
  uint32_t bytes = 0;
  if (blob.size() < sizeof bytes) return Damaged("its precompiled_charsmap");
  std::memcpy(&bytes, blob.data(), sizeof bytes);
  blob.remove_prefix(sizeof bytes);
  if (bytes == 0 || bytes % sizeof(uint32_t) != 0 || bytes >= blob.size() || blob.back() != '\0') {
    return Damaged("its precompiled_charsmap");
  }
  units_.resize(bytes / sizeof(uint32_t));
  std::memcpy(units_.data(), blob.data(), bytes);
  replaced_ = std::string(blob.substr(bytes));
  return absl::OkStatus();
}

absl::Status SentencePieceModel::Index() {
  float least = std::numeric_limits<float>::max();
  for (int id = 0; id < size(); ++id) {
    const PieceEntry& entry = pieces_[id];
    if (entry.type == Type::kUnknown) {
      if (unknown_id_ >= 0) return Damaged("it has two unknown pieces");
      unknown_id_ = id;
    }
    if (entry.type == Type::kNormal) least = std::min(least, entry.score);
    if (entry.type == Type::kNormal || entry.type == Type::kUnused) sorted_.push_back(id);
  }
  if (unknown_id_ < 0) return Damaged("it has no unknown piece");
  if (sorted_.empty()) return Damaged("it has no pieces");
  unknown_score_ = least - kUnknownPenalty;
  std::sort(sorted_.begin(), sorted_.end(),
            [this](int a, int b) { return pieces_[a].text < pieces_[b].text; });
  const auto twin = std::adjacent_find(sorted_.begin(), sorted_.end(), [this](int a, int b) {
    return pieces_[a].text == pieces_[b].text;
  });
  if (twin != sorted_.end()) {
    return Damaged(absl::StrCat("pieces ", twin[0], " and ", twin[1], " are the same"));
  }
  first_byte_.assign(257, 0);
  for (const int id : sorted_) ++first_byte_[static_cast<uint8_t>(pieces_[id].text[0]) + 1];
  for (int byte = 0; byte < 256; ++byte) first_byte_[byte + 1] += first_byte_[byte];
  return absl::OkStatus();
}

absl::StatusOr<SentencePieceModel> SentencePieceModel::Parse(const std::string& bytes,
                                                             const std::string& path) {
  SentencePieceModel model;
  const auto parse = [&model, &bytes]() -> absl::Status {
    for (WireReader reader(bytes); !reader.done();) {
      if (!reader.Next()) return Damaged("its bytes end or are no message");
      if (!reader.is_bytes()) continue;
      if (reader.field() == 1) EVOGRAD_RETURN_IF_ERROR(model.ParsePiece(reader.bytes()));
      if (reader.field() == 2) EVOGRAD_RETURN_IF_ERROR(model.ParseTrainer(reader.bytes()));
      if (reader.field() == 3) EVOGRAD_RETURN_IF_ERROR(model.ParseNormaliser(reader.bytes()));
    }
    return model.Index();
  };
  const absl::Status status = parse();
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
  return model;
}

std::pair<absl::string_view, size_t> SentencePieceModel::NormalisePrefix(
    absl::string_view text) const {
  size_t longest = 0;
  size_t place = 0;
  // A value elsewhere than in the tables is none.
  for (size_t node = 0, i = 0; !units_.empty() && i < text.size(); ++i) {
    if (i == 0) node = Offset(units_[0]);
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (node >= units_.size() || Label(units_[node]) != byte) break;
    const bool leaf = HasLeaf(units_[node]);
    node ^= Offset(units_[node]);
    if (node >= units_.size()) break;
    if (leaf && Value(units_[node]) < replaced_.size()) {
      longest = i + 1;
      place = Value(units_[node]);
    }
  }
  if (longest > 0) return {absl::string_view(replaced_.c_str() + place), longest};
  const size_t bytes = CharacterBytes(text);
  if (bytes == 0) return {kReplacement, 1};
  return {text.substr(0, bytes), bytes};
}

std::string SentencePieceModel::Normalise(absl::string_view text) const {
  if (remove_extra_whitespaces_) {
    while (!text.empty()) {
      const auto [replacement, bytes] = NormalisePrefix(text);
      if (replacement != " ") break;
      text.remove_prefix(bytes);
    }
  }
  std::string out;
  if (text.empty()) return out;
  const absl::string_view blank = escape_whitespaces_ ? kBlank : absl::string_view(" ");
  if (add_dummy_prefix_) absl::StrAppend(&out, blank);
  bool after_blank = remove_extra_whitespaces_;
  while (!text.empty()) {
    auto [replacement, bytes] = NormalisePrefix(text);
    while (after_blank && absl::ConsumePrefix(&replacement, " ")) {
    }
    if (!replacement.empty()) {
      for (const char c : replacement) {
        if (c == ' ') {
          absl::StrAppend(&out, blank);
        } else {
          out.push_back(c);
        }
      }
      after_blank = replacement.back() == ' ';
    }
    text.remove_prefix(bytes);
    if (!remove_extra_whitespaces_) after_blank = false;
  }
  if (remove_extra_whitespaces_) {
    while (absl::EndsWith(out, blank)) out.resize(out.size() - blank.size());
  }
  return out;
}

void SentencePieceModel::Narrow(uint8_t byte, size_t depth, size_t* begin, size_t* end) const {
  if (depth == 0) {
    *begin = first_byte_[byte];
    *end = first_byte_[byte + 1];
    return;
  }
  const auto at = [this, depth](int id) {
    const std::string& text = pieces_[id].text;
    return text.size() > depth ? static_cast<int>(static_cast<uint8_t>(text[depth])) : -1;
  };
  const auto first = std::lower_bound(sorted_.begin() + *begin, sorted_.begin() + *end, byte,
                                      [&at](int id, uint8_t value) { return at(id) < value; });
  const auto last = std::upper_bound(first, sorted_.begin() + *end, byte,
                                     [&at](uint8_t value, int id) { return value < at(id); });
  *begin = first - sorted_.begin();
  *end = last - sorted_.begin();
}

std::vector<int> SentencePieceModel::Encode(absl::string_view text) const {
  const std::string input = Normalise(text);
  // The best way to each byte's end: the last piece on it, where that begins, its score.
  struct Node {
    int id = -1;
    float score = 0;
    int64_t start = -1;
  };
  std::vector<Node> best(input.size() + 1);
  const auto offer = [&best](size_t start, size_t end, int id, float score) {
    const float candidate = score + best[start].score;
    if (best[end].start < 0 || candidate > best[end].score) {
      best[end] = {id, candidate, static_cast<int64_t>(start)};
    }
  };
  for (size_t start = 0; start < input.size();) {
    const size_t bytes =
        std::max<size_t>(1, CharacterBytes(absl::string_view(input).substr(start)));
    bool has_character = false;
    size_t begin = 0, end = sorted_.size();
    for (size_t depth = 0; start + depth < input.size(); ++depth) {
      Narrow(static_cast<uint8_t>(input[start + depth]), depth, &begin, &end);
      if (begin == end) break;
      // Of the pieces that begin so, the shortest stands first.
      const PieceEntry& entry = pieces_[sorted_[begin]];
      if (entry.text.size() != depth + 1 || entry.type == Type::kUnused) continue;
      offer(start, start + depth + 1, sorted_[begin], entry.score);
      has_character = has_character || depth + 1 == bytes;
    }
    if (!has_character) offer(start, start + bytes, unknown_id_, unknown_score_);
    start += bytes;
  }
  std::vector<int> ids;
  for (size_t end = input.size(); end > 0; end = best[end].start) {
    const int id = best[end].id;
    if (id != unknown_id_ || ids.empty() || ids.back() != unknown_id_) ids.push_back(id);
  }
  std::reverse(ids.begin(), ids.end());
  return ids;
}

}  // namespace evograd
