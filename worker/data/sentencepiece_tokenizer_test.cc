// Goal: ids are XLM-R's, sequences have their special tokens and are cut as promised, and files
// that are no such model are refused by name. Method: a model of a few pieces written by hand.
// Agreement with sentencepiece and transformers is tests/golden/sentencepiece_test's affair.
#include "worker/data/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/limits.h"
#include "worker/data/testing/model_proto.h"

namespace evograd {
namespace {

using Ids = std::vector<int64_t>;
using testing_model::Model;

std::string Write(const std::string& bytes) {
  const std::string path = testing::TempDir() + "/spm.model";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// Pieces: 4 "▁a", 5 "b", 6 "▁" (ids of XLM-R's order).
Model Good() {
  Model model;
  for (const char* text : {"▁a", "b", "▁"}) model.pieces.push_back({text, -1});
  return model;
}

SentencePieceTokenizer Opened(bool published_quirks = false) {
  auto tokenizer = SentencePieceTokenizer::Open(Write(Good().Serialise()), published_quirks);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(SentencePieceTokenizerTest, IdsAreFairseqs) {
  const SentencePieceTokenizer tokenizer = Opened();
  EXPECT_EQ(tokenizer.Encode("ab x"), (Ids{4, 5, 6, 3}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 8);
  EXPECT_EQ(tokenizer.begin_id(), 0);
  EXPECT_EQ(tokenizer.pad_id(), 1);
  EXPECT_EQ(tokenizer.end_id(), 2);
  EXPECT_EQ(tokenizer.unknown_id(), 3);
  EXPECT_EQ(tokenizer.mask_id(), 7);
  std::vector<std::string> pieces;
  for (int id = 0; id < tokenizer.vocabulary_size(); ++id) pieces.push_back(tokenizer.Piece(id));
  EXPECT_EQ(pieces,
            (std::vector<std::string>{"<s>", "<pad>", "</s>", "<unk>", "▁a", "b", "▁", "<mask>"}));
}

TEST(SentencePieceTokenizerTest, PublishedQuirksChangeTheSpecialTokens) {
  const SentencePieceTokenizer tokenizer = Opened(true);
  EXPECT_EQ(tokenizer.EncodeText("ab", 10).ids, (Ids{3, 4, 5, 3}));
  EXPECT_EQ(tokenizer.pad_id(), 0);
  EXPECT_EQ(Opened().EncodeText("ab", 10).ids, (Ids{0, 4, 5, 2}));
}

TEST(SentencePieceTokenizerTest, TextIsCutBeforeItsEndToken) {
  const SentencePieceTokenizer tokenizer = Opened();
  for (int64_t most = 2; most < 8; ++most) {
    const TokenSequence text = tokenizer.EncodeText("abbb", most);
    Ids expected = {0, 4, 5, 5, 5};
    expected.resize(std::min<int64_t>(5, most - 1));
    expected.push_back(2);
    EXPECT_EQ(text.ids, expected) << most;
    EXPECT_EQ(text.untruncated, 6) << most;
    EXPECT_EQ(text.truncated(), most < 6) << most;
  }
  EXPECT_EQ(tokenizer.EncodeText("", 2).ids, (Ids{0, 2}));
  EXPECT_FALSE(tokenizer.EncodeText("", 2).truncated());
}

TEST(SentencePieceTokenizerTest, EveryWordHasAPlaceUnlessCutOff) {
  const SentencePieceTokenizer tokenizer = Opened();
  // " " has no piece of its own.
  const std::vector<std::string> words = {"ab", " ", "b"};
  const TokenSequence whole = tokenizer.EncodeWords(words, 8);
  EXPECT_EQ(whole.ids, (Ids{0, 4, 5, 3, 6, 5, 2}));
  EXPECT_EQ(whole.word_starts, (Ids{1, 3, 4}));
  EXPECT_FALSE(whole.truncated());
  const TokenSequence cut = tokenizer.EncodeWords(words, 5);
  EXPECT_EQ(cut.ids, (Ids{0, 4, 5, 3, 2}));
  EXPECT_EQ(cut.word_starts, (Ids{1, 3}));
  EXPECT_EQ(cut.untruncated, 7);
  EXPECT_EQ(tokenizer.EncodeWords(words, 4).word_starts, (Ids{1}));
  EXPECT_TRUE(tokenizer.EncodeWords(words, 2).word_starts.empty());
  EXPECT_EQ(tokenizer.EncodeWords({}, 5).ids, (Ids{0, 2}));
}

TEST(SentencePieceTokenizerTest, FilesThatAreNoSuchModelAreRefused) {
  const auto refuse = [](const std::string& path, absl::StatusCode code, const std::string& part) {
    const auto tokenizer = SentencePieceTokenizer::Open(path);
    EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
    EXPECT_TRUE(absl::StrContains(tokenizer.status().message(), path)) << tokenizer.status();
    EXPECT_TRUE(absl::StrContains(tokenizer.status().message(), part)) << tokenizer.status();
  };
  EXPECT_TRUE(SentencePieceTokenizer::Open(Write(Good().Serialise())).ok());
  refuse(testing::TempDir() + "/none.model", absl::StatusCode::kNotFound, "No such file");
  refuse(Write("\x0a\x7f"), absl::StatusCode::kDataLoss, "no SentencePiece model");
  Model changed = Good();
  std::swap(changed.pieces[1], changed.pieces[2]);
  refuse(Write(changed.Serialise()), absl::StatusCode::kInvalidArgument, "piece 1 is not <s>");
  changed = Good();
  changed.pieces[2].type = 1;
  refuse(Write(changed.Serialise()), absl::StatusCode::kInvalidArgument, "piece 2 is not </s>");
  const std::string path = Write("");
  ASSERT_EQ(truncate(path.c_str(), limits::kMaxSentencePieceBytes + 1), 0);
  refuse(path, absl::StatusCode::kResourceExhausted, "bytes");
}

}  // namespace
}  // namespace evograd
