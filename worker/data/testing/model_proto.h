// SentencePiece model files written by hand, for tests.
//
//   testing_model::Model model;
//   model.pieces.push_back({"▁a", -1});
//   model.Serialise();
#ifndef EVOGRAD_WORKER_DATA_TESTING_MODEL_PROTO_H_
#define EVOGRAD_WORKER_DATA_TESTING_MODEL_PROTO_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace evograd::testing_model {

inline std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
inline std::string Number(int field, uint64_t value) { return Varint(field << 3) + Varint(value); }
inline std::string Bytes(int field, const std::string& value) {
  return Varint(field << 3 | 2) + Varint(value.size()) + value;
}
template <typename T>
std::string Raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

struct Piece {
  std::string text;
  float score = 0;
  int type = 1;
};

struct Model {
  std::vector<Piece> pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}};
  std::string trainer = Number(3, 1);  // UNIGRAM
  std::string normaliser;

  std::string Serialise() const {
    std::string bytes;
    for (const Piece& piece : pieces) {
      bytes += Bytes(
          1, Bytes(1, piece.text) + Varint(2 << 3 | 5) + Raw(piece.score) + Number(3, piece.type));
    }
    return bytes + Bytes(2, trainer) + Bytes(3, normaliser);
  }
};

// A table of characters that maps the byte `from` to `to`. The units' layout is darts-clone's:
// the root's children stand at 1 ^ byte, the value at the child's place ^ 2.
inline std::string CharacterMap(uint8_t from, const std::string& to) {
  std::vector<uint32_t> units(256, 0);
  units[0] = 1 << 10;
  units[1 ^ from] = from | 1 << 8 | 2 << 10;
  units[1 ^ from ^ 2] = uint32_t{1} << 31;
  std::string bytes(reinterpret_cast<const char*>(units.data()), units.size() * sizeof units[0]);
  return Bytes(2, Raw(static_cast<uint32_t>(bytes.size())) + bytes + to + '\0');
}

}  // namespace evograd::testing_model

#endif  // EVOGRAD_WORKER_DATA_TESTING_MODEL_PROTO_H_
