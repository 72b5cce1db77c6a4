// A unigram language model of SentencePiece (Kudo, ACL 2018; Kudo and Richardson, EMNLP 2018), read
// from the library's own model file: normalises a text by the file's table of characters and finds
// its most likely segmentation into pieces (Viterbi).
//
//   EVOGRAD_ASSIGN_OR_RETURN(SentencePieceModel model, SentencePieceModel::Parse(bytes, path));
//   model.Encode("Grüße");   // numbers of pieces, e.g. of "▁Gr", "ü", "ße"
//
// The reader is our own because Debian's libsentencepiece.so exports an old protobuf's symbols,
// which break a program that also links libprotobuf, as the worker does; and because no byte of
// a file is trusted here.
//
// Threads: immutable; any number may encode at once. Errors, naming `path`: DATA_LOSS (no such
// model, or damaged), UNIMPLEMENTED (another kind: BPE, byte fallback, user-defined symbols).
#ifndef EVOGRAD_WORKER_DATA_SENTENCEPIECE_MODEL_H_
#define EVOGRAD_WORKER_DATA_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

class SentencePieceModel {
 public:
  // Numbers are sentencepiece_model.proto's.
  enum class Type {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };

  static absl::StatusOr<SentencePieceModel> Parse(const std::string& bytes,
                                                  const std::string& path);

  int size() const { return static_cast<int>(pieces_.size()); }
  const std::string& piece(int id) const { return pieces_[id].text; }
  Type type(int id) const { return pieces_[id].type; }
  int unknown_id() const { return unknown_id_; }

  // What is segmented: characters mapped, runs of blanks one "▁", one before the text. Bytes that
  // are not UTF-8 become U+FFFD.
  std::string Normalise(absl::string_view text) const;

  // The pieces of a text; characters without any, together, are one unknown_id().
  std::vector<int> Encode(absl::string_view text) const;

 private:
  struct PieceEntry {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };

  absl::Status ParsePiece(absl::string_view message);
  absl::Status ParseTrainer(absl::string_view message);
  absl::Status ParseNormaliser(absl::string_view message);
  absl::Status ParseCharacters(absl::string_view blob);
  absl::Status Index();
  // The longest prefix that the table maps, or a character: (replacement, bytes of `text`).
  std::pair<absl::string_view, size_t> NormalisePrefix(absl::string_view text) const;
  // Range of sorted_ whose pieces go on with `byte` at `depth`, within [begin, end).
  void Narrow(uint8_t byte, size_t depth, size_t* begin, size_t* end) const;

  std::vector<PieceEntry> pieces_;
  std::vector<int> sorted_;         // segments' pieces, by bytes
  std::vector<size_t> first_byte_;  // where in sorted_ each first byte begins; 257
  int unknown_id_ = -1;
  float unknown_score_ = 0;
  bool add_dummy_prefix_ = true;
  bool remove_extra_whitespaces_ = true;
  bool escape_whitespaces_ = true;
  // The table: a double array over the bytes to be replaced, whose values are places in replaced_.
  std::vector<uint32_t> units_;
  std::string replaced_;  // texts, each ended by a zero byte
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_SENTENCEPIECE_MODEL_H_
