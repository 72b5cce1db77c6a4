// Goal: tagged files are read as bio.h says, and every fault is named with its file and line.
// Method: small files written here; each bad one has a good twin that differs in the one thing.
#include "worker/data/bio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "worker/data/testing/text_files.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::atomic<bool> cancelled{false};

absl::StatusOr<TaggedFile> Read(const std::string& text, const std::string& language = "en") {
  return ReadTaggedFile(WriteTextFile("sentences", text), language, TagSet::Conll(), cancelled);
}

void ExpectRefused(const std::string& text, const std::string& place, const std::string& why) {
  const absl::Status status = Read(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << text;
  EXPECT_THAT(std::string(status.message()), HasSubstr("sentences" + place)) << text;
  EXPECT_THAT(std::string(status.message()), HasSubstr(why)) << text;
}

TEST(BioTest, PanXFiles) {
  const auto file = Read(
      "en:Rome\tB-LOC\nen::\tO\nde:Bahn\tI-ORG\nen:en:x\tO\n\n\n \t \nen:U2\tB-MISC\r\n"
      "en:R.\xc2\xa0H.\tI-PER");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->sentences.size(), 2u);
  EXPECT_THAT(file->sentences[0].words, ElementsAre("Rome", ":", "de:Bahn", "en:x"));
  EXPECT_THAT(file->sentences[0].labels, ElementsAre(7, 0, 6, 0));
  EXPECT_EQ(file->sentences[0].line, 1);
  EXPECT_THAT(file->sentences[1].words, ElementsAre("U2", "R.\xc2\xa0H."));
  EXPECT_THAT(file->sentences[1].labels, ElementsAre(1, 4));
  EXPECT_EQ(file->sentences[1].line, 8);
}

TEST(BioTest, ConllFiles) {
  const auto file = Read(
      "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects  VBZ B-VP O\n\nen:Peter\tNNP\tB-PER\n");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->sentences.size(), 2u);
  EXPECT_THAT(file->sentences[0].words, ElementsAre("EU", "rejects"));
  EXPECT_THAT(file->sentences[0].labels, ElementsAre(5, 0));
  EXPECT_THAT(file->sentences[1].words, ElementsAre("Peter"));
  EXPECT_THAT(file->sentences[1].labels, ElementsAre(3));
}

TEST(BioTest, FaultsAreNamedWithTheirLine) {
  EXPECT_TRUE(Read("en:a\tO\n\nen:b\tB-PER\n").ok());
  ExpectRefused("en:a\tO\n\nen:b\tB-CITY\n", ":3: ", "there is no tag B-CITY; the labels are O, ");
  ExpectRefused("en:a\tO\n\nen:b\tPER\n", ":3: ", "`PER` is no tag");
  ExpectRefused("en:a\tO\n\nen:b\tB-\n", ":3: ", "`B-` is no tag");
  ExpectRefused("en:a\tO\n\nen:b\tE-PER\n", ":3: ", "`E-PER` is no tag");
  ExpectRefused("en:a\tO\n\nen:b\tb-PER\n", ":3: ", "`b-PER` is no tag");
  ExpectRefused("en:a\tO\nen:b\n", ":2: ", "has no tag");
  ExpectRefused("en:a\tO\nen:b\t\n", ":2: ", "has no tag");
  ExpectRefused("en:a\tO\nen:\tO\n", ":2: ", "but no word");
  ExpectRefused("en:a\tO\n\tO\n", ":2: ", "but no word");
  ExpectRefused("en:a\tO\nen:\xff\tO\n", ":2: ", "not UTF-8");
  ExpectRefused("\n \n-DOCSTART- O\n", ": ", "holds no sentence");
  EXPECT_EQ(ReadTaggedFile("/none", "en", TagSet::Conll(), cancelled).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(TagSetTest, LabelsAreReadAsTags) {
  const auto tags = TagSet::Create(*LabelSet::Create({"I-B", "O", "B-A-C", "B-B"}, "here"), "here");
  ASSERT_TRUE(tags.ok()) << tags.status();
  EXPECT_THAT(tags->types(), ElementsAre("B", "A-C"));
  EXPECT_EQ(tags->outside(), 1);
  EXPECT_EQ(tags->tag(0).kind, Tag::Kind::kInside);
  EXPECT_EQ(tags->tag(0).type, 0);
  EXPECT_EQ(tags->tag(1).type, -1);
  EXPECT_EQ(tags->tag(2).type, 1);
  EXPECT_EQ(tags->tag(3).kind, Tag::Kind::kBegin);
  EXPECT_EQ(tags->tag(3).type, 0);
  EXPECT_THAT(
      TagSet::Conll().labels().names(),
      ElementsAre("O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"));
}

TEST(TagSetTest, OtherLabelsAreRefused) {
  const auto create = [](const std::vector<std::string>& names) {
    return TagSet::Create(*LabelSet::Create(names, "labels.txt"), "labels.txt").status();
  };
  EXPECT_TRUE(create({"O"}).ok());
  EXPECT_THAT(std::string(create({"B-A"}).message()), HasSubstr("labels.txt: O, the tag"));
  EXPECT_THAT(std::string(create({"O", "B-A", "A"}).message()), HasSubstr("`A` is no tag"));
}

TEST(LabelSetTest, FaultyLabelsAreNamed) {
  const auto create = [](const std::vector<std::string>& names) {
    return LabelSet::Create(names, "the list").status();
  };
  EXPECT_TRUE(create({"a", "b"}).ok());
  for (const auto& [names, why] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{}, "the list: has 0 labels"},
           {{"a", "b", "a"}, "the list: label `a` stands there twice"},
           {{"a", ""}, "is empty"},
           {{"a", "b c"}, "label `b c` has a blank"},
           {{"a", std::string(257, 'x')}, "is 257 bytes long"}}) {
    EXPECT_EQ(create(names).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(create(names).message()), HasSubstr(why));
  }
  const auto read = ReadLabelFile(WriteTextFile("labels.txt", "x\n\ny\n"), cancelled);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->names(), ElementsAre("x", "y"));
  EXPECT_EQ(read->Find("y"), 1);
  EXPECT_FALSE(read->Find("z").has_value());
  const absl::Status twice =
      ReadLabelFile(WriteTextFile("twice.txt", "x\nx\n"), cancelled).status();
  EXPECT_EQ(twice.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(twice.message()), HasSubstr("twice.txt: label `x` stands there twice"));
}

}  // namespace
}  // namespace evograd
