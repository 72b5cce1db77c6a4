// Goal: words are sorted as people write them, and each wrong one is named. Method: tables; each
// refused line has an accepted twin.
#include "client/cli/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_split.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;

const std::vector<Flag>& Flags() {
  static const auto& flags = *new std::vector<Flag>{{"workers", "N", ""},
                                                    {"data-dir", "FOLDER", ""},
                                                    {"wait", "", ""},
                                                    {"o", "FORMAT", ""},
                                                    {"timeout", "TIME", ""}};
  return flags;
}

absl::StatusOr<Arguments> Parse(const std::string& line, bool stop_at_operand = false) {
  return Arguments::Parse(absl::StrSplit(line, ' ', absl::SkipEmpty()), Flags(), stop_at_operand);
}

TEST(ArgumentsTest, FlagsInAllTheirForms) {
  for (const std::string line : {"a --workers 3 --wait --data-dir=/x=y -o json b",
                                 "-o=json --data_dir /x=y a --wait b --workers=3"}) {
    const auto arguments = Parse(line);
    ASSERT_TRUE(arguments.ok()) << arguments.status();
    EXPECT_THAT(arguments->operands(), ElementsAre("a", "b"));
    EXPECT_EQ(*arguments->GetInt("workers", 1, 1, 10), 3);
    EXPECT_TRUE(arguments->Has("wait"));
    EXPECT_EQ(arguments->Get("data-dir", ""), "/x=y");
    EXPECT_EQ(*arguments->GetChoice("o", "table", {"table", "json"}), "json");
  }
}

TEST(ArgumentsTest, AbsentFlagsTakeTheirFallback) {
  const auto arguments = Parse("");
  EXPECT_EQ(*arguments->GetInt("workers", 7, 1, 10), 7);
  EXPECT_EQ(arguments->Get("data-dir", "x"), "x");
  EXPECT_EQ(*arguments->GetDuration("timeout", absl::InfiniteDuration()), absl::InfiniteDuration());
  EXPECT_FALSE(arguments->Has("wait"));
}

TEST(ArgumentsTest, OperandsThatLookLikeFlags) {
  EXPECT_THAT(Parse("-- --wait")->operands(), ElementsAre("--wait"));
  EXPECT_THAT(Parse("- x")->operands(), ElementsAre("-", "x"));
  const auto stopped = Parse("--wait verb --unknown", true);
  ASSERT_TRUE(stopped.ok());
  EXPECT_THAT(stopped->operands(), ElementsAre("verb", "--unknown"));
}

TEST(ArgumentsTest, WrongWordsAreNamed) {
  const auto error = [](const std::string& line) {
    return std::string(Parse(line).status().message());
  };
  EXPECT_EQ(error("--workers 3"), "");
  EXPECT_EQ(error("--worker 3"), "unknown flag --worker; did you mean --workers?");
  EXPECT_EQ(error("--zzz=3"), "unknown flag --zzz");
  EXPECT_EQ(error("-wait"), "unknown flag -wait; did you mean --wait?");
  EXPECT_EQ(error("--o json"), "unknown flag --o; did you mean -o?");
  EXPECT_EQ(error("--workers"), "--workers needs a value: --workers N");
  EXPECT_EQ(error("--workers="), "--workers needs a value: --workers N");
  EXPECT_EQ(error("--wait=yes"), "--wait is a switch and takes no value");
  EXPECT_EQ(error("--wait --wait"), "--wait is given twice");
}

TEST(ArgumentsTest, EmptyValuesAndOtherEncodingsAreNamed) {
  const auto error = [](const std::vector<std::string>& words) {
    return std::string(Arguments::Parse(words, Flags()).status().message());
  };
  EXPECT_EQ(error({"--data-dir", "", "x"}), "--data-dir needs a value: --data-dir FOLDER");
  EXPECT_EQ(error({"--data-dir", "x", ""}), "");
  EXPECT_EQ(error({"h\xc3\xb6he"}), "");
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"h\xf6he"}, {"--data-dir", "h\xf6he"}, {"--", "h\xf6he"}}) {
    EXPECT_EQ(error(words), "the word `h\xf6he` is not UTF-8 text; write it in UTF-8");
  }
}

TEST(ArgumentsTest, WhatStandsBeforeTheVerbIsRefusedAlike) {
  const auto merged = [](const std::string& before, const std::string& after) {
    auto arguments = Parse(after);
    const absl::Status status = arguments->Merge(*Parse(before), {{"workers", "N", ""}});
    return status.ok() ? arguments->Get("workers", "none") : std::string(status.message());
  };
  EXPECT_EQ(merged("--workers 3", "x"), "3");
  EXPECT_EQ(merged("", "--workers 3"), "3");
  EXPECT_EQ(merged("--workers 2", "--workers 3"), "--workers is given twice");
  EXPECT_EQ(merged("-o json", ""), "unknown flag -o");
}

TEST(ArgumentsTest, WrongValuesAreNamed) {
  const auto integer = [](const std::string& text) {
    return std::string(Parse("--workers " + text)->GetInt("workers", 1, 1, 10).status().message());
  };
  EXPECT_EQ(integer("10"), "");
  EXPECT_EQ(integer("11"), "--workers 11: a whole number from 1 to 10 is needed");
  EXPECT_NE(integer("1.5"), "");
  EXPECT_NE(integer("x"), "");

  const auto duration = [](const std::string& text) {
    return Parse("--timeout " + text)->GetDuration("timeout", absl::Seconds(1));
  };
  EXPECT_EQ(*duration("1m30s"), absl::Seconds(90));
  EXPECT_EQ(*duration("2.5"), absl::Milliseconds(2500));
  for (const std::string wrong : {"0", "-1s", "soon", "nan"})
    EXPECT_FALSE(duration(wrong).ok()) << wrong;

  EXPECT_EQ(Parse("-o yaml")->GetChoice("o", "table", {"table", "json"}).status().message(),
            "-o yaml: one of table, json is needed");
}

}  // namespace
}  // namespace evograd
