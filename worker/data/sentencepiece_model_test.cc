// Goal: a text is normalised and segmented by the model's pieces and scores, and no file, however
// damaged, does harm. Method: models of a few pieces written by hand, whose best segmentations are
// worked out on paper; each bad file differs in one thing from a good one. Agreement with the
// SentencePiece library over many texts is tests/golden/sentencepiece_test's affair.
#include "worker/data/sentencepiece_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "worker/data/testing/model_proto.h"

namespace evograd {
namespace {

using testing_model::Bytes;
using testing_model::CharacterMap;
using testing_model::Model;
using testing_model::Number;

// Pieces: 3 "▁", 4 "a", 5 "b", 6 "ab", 7 "▁a".
Model Good() {
  Model model;
  for (const auto& [text, score] : std::vector<std::pair<std::string, float>>{
           {"▁", -2}, {"a", -3}, {"b", -3}, {"ab", -5.5}, {"▁a", -4}}) {
    model.pieces.push_back({text, score});
  }
  return model;
}

SentencePieceModel Parsed(const Model& model) {
  auto parsed = SentencePieceModel::Parse(model.Serialise(), "m");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

void ExpectRefused(const std::string& bytes, absl::StatusCode code, const std::string& part) {
  const auto parsed = SentencePieceModel::Parse(bytes, "/dir/m.model");
  EXPECT_EQ(parsed.status().code(), code) << parsed.status();
  EXPECT_TRUE(absl::StartsWith(parsed.status().message(), "/dir/m.model: ")) << parsed.status();
  EXPECT_TRUE(absl::StrContains(parsed.status().message(), part)) << parsed.status();
}

TEST(SentencePieceModelTest, TakesTheLikeliestSegmentation) {
  const SentencePieceModel model = Parsed(Good());
  // "▁" + "ab" has -7.5, "▁a" + "b" has -7.
  EXPECT_EQ(model.Encode("ab"), (std::vector<int>{7, 5}));
  // "▁b": only one way. Then "▁" + "ab" against "▁a" + "b" again.
  EXPECT_EQ(model.Encode("b ab"), (std::vector<int>{3, 5, 7, 5}));
  // Within a word "ab" (-5.5) beats "a" + "b" (-6).
  EXPECT_EQ(model.Encode("bab"), (std::vector<int>{3, 5, 6}));
  EXPECT_TRUE(model.Encode("").empty());
  EXPECT_TRUE(model.Encode("   ").empty());
}

TEST(SentencePieceModelTest, UnknownCharactersAreOnePieceTogether) {
  const SentencePieceModel model = Parsed(Good());
  EXPECT_EQ(model.Encode("aξψb"), (std::vector<int>{7, 0, 5}));
  EXPECT_EQ(model.Encode("aξbψ"), (std::vector<int>{7, 0, 5, 0}));
}

TEST(SentencePieceModelTest, UnusedPiecesAreNotUsed) {
  Model changed = Good();
  changed.pieces[7].type = 5;
  EXPECT_EQ(Parsed(changed).Encode("ab"), (std::vector<int>{3, 6}));
}

TEST(SentencePieceModelTest, BlanksAreNormalisedAsTheFileSays) {
  EXPECT_EQ(Parsed(Good()).Normalise("  a  b "), "▁a▁b");
  Model changed = Good();
  changed.normaliser = Number(4, 0);
  EXPECT_EQ(Parsed(changed).Normalise(" a  b "), "▁▁a▁▁b▁");
  changed.normaliser = Number(3, 0);
  EXPECT_EQ(Parsed(changed).Normalise(" a  b "), "a▁b");
  changed.normaliser = Number(5, 0);
  EXPECT_EQ(Parsed(changed).Normalise(" a  b "), " a b");
}

TEST(SentencePieceModelTest, CharactersAreMapped) {
  Model changed = Good();
  changed.normaliser = CharacterMap('A', "a b");
  EXPECT_EQ(Parsed(changed).Normalise("bAb"), "▁ba▁bb");
  changed.normaliser = CharacterMap('A', "");
  EXPECT_EQ(Parsed(changed).Normalise("bAb"), "▁bb");
  EXPECT_EQ(Parsed(Good()).Normalise("bAb"), "▁bAb");
}

TEST(SentencePieceModelTest, BytesThatAreNotUtf8BecomeOneCharacterEach) {
  const SentencePieceModel model = Parsed(Good());
  EXPECT_EQ(model.Normalise("a\xff"
                            "b"),
            "▁a\xef\xbf\xbd"
            "b");
  // A character cut short, an overlong one, a surrogate, beyond the last.
  EXPECT_EQ(model.Normalise("\xe2\x96"), "▁\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(model.Normalise("\xc0\x80"), "▁\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(model.Normalise("\xed\xa0\x80"), "▁\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(model.Normalise("\xf4\x90\x80\x80").size(), 3u + 4 * 3);
  EXPECT_EQ(model.Normalise("\xf0\x9f\x98\x80"), "▁\xf0\x9f\x98\x80");
}

TEST(SentencePieceModelTest, OtherKindsAreRefused) {
  EXPECT_TRUE(SentencePieceModel::Parse(Good().Serialise(), "m").ok());
  Model changed = Good();
  changed.trainer = Number(3, 2);
  ExpectRefused(changed.Serialise(), absl::StatusCode::kUnimplemented, "model_type is not UNIGRAM");
  changed.trainer = Number(35, 1);
  ExpectRefused(changed.Serialise(), absl::StatusCode::kUnimplemented, "byte_fallback is on");
  changed.trainer = Number(24, 1);
  ExpectRefused(changed.Serialise(), absl::StatusCode::kUnimplemented, "whitespace_as_suffix");
  changed = Good();
  changed.pieces[4].type = 4;
  ExpectRefused(changed.Serialise(), absl::StatusCode::kUnimplemented, "piece 4 is user-defined");
}

TEST(SentencePieceModelTest, DamageIsNamed) {
  Model changed = Good();
  changed.pieces[4].text = "";
  ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "piece 4 is empty");
  changed = Good();
  changed.pieces[4].score = std::nanf("");
  ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "score of piece 4");
  changed = Good();
  changed.pieces[4].type = 7;
  ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "type of piece 4");
  changed = Good();
  changed.pieces[4].text = "b";
  ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "pieces 4 and 5 are the same");
  changed = Good();
  changed.pieces[0].type = 3;
  ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "no unknown piece");
  changed = Good();
  changed.pieces[4].type = 2;
  ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "two unknown pieces");
  ExpectRefused("", absl::StatusCode::kDataLoss, "no unknown piece");
  ExpectRefused("not a model", absl::StatusCode::kDataLoss, "damaged");
  ExpectRefused(Good().Serialise() +
                    "\x0a\x05"
                    "ab",
                absl::StatusCode::kDataLoss, "bytes end");
}

TEST(SentencePieceModelTest, TablesOfCharactersMustBeWhole) {
  const std::string good = CharacterMap('A', "a");
  Model changed = Good();
  changed.normaliser = good;
  EXPECT_TRUE(SentencePieceModel::Parse(changed.Serialise(), "m").ok());
  for (const std::string& blob :
       {std::string("abc"), std::string("\x05\0\0\0abcde\0", 10), std::string("\x04\0\0\0abcd", 8),
        std::string("\0\0\0\0abcd\0", 9),
        std::string("\xfc\xff\xff\xff"
                    "abcd\0",
                    9)}) {
    changed.normaliser = Bytes(2, blob);
    ExpectRefused(changed.Serialise(), absl::StatusCode::kDataLoss, "precompiled_charsmap");
  }
}

// Whatever is taken must still segment texts, into pieces that exist.
TEST(SentencePieceModelTest, DamagedFilesDoNoHarm) {
  Model whole = Good();
  whole.normaliser = CharacterMap('A', "a");
  const std::string bytes = whole.Serialise();
  std::mt19937 random(1);
  int taken = 0, refused = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::string damaged = bytes;
    if (trial < static_cast<int>(bytes.size())) {
      damaged.resize(trial);
    } else {
      for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    const auto model = SentencePieceModel::Parse(damaged, "m");
    ++(model.ok() ? taken : refused);
    if (!model.ok()) continue;
    for (const char* text : {"ab AbA ξb", "\xff\x80 A", "AAAAAAAAAAA"}) {
      for (const int id : model->Encode(text)) {
        ASSERT_GE(id, 0);
        ASSERT_LT(id, model->size());
      }
    }
  }
  EXPECT_GT(taken, 1000);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace evograd
