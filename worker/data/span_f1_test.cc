// Goal: spans are found and counted as span_f1.h says. Method: cases by hand; seqeval itself is
// compared with in tests/golden/span_f1_test.py.
#include "worker/data/span_f1.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace evograd {
namespace {

// Tags such as "O B0 I1".
std::vector<Tag> Tags(const std::string& text) {
  std::vector<Tag> tags;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    Tag tag;
    if (word != "O") {
      tag.kind = word[0] == 'B' ? Tag::Kind::kBegin : Tag::Kind::kInside;
      tag.type = word[1] - '0';
    }
    tags.push_back(tag);
  }
  return tags;
}

std::string Spans(const std::string& text) {
  std::string spans;
  for (const Span& span : SpansOf(Tags(text))) {
    absl::StrAppend(&spans, "[", span.first, "-", span.last, " ", span.type, "]");
  }
  return spans;
}

TEST(SpansOfTest, ByHand) {
  EXPECT_EQ(Spans(""), "");
  EXPECT_EQ(Spans("O O"), "");
  EXPECT_EQ(Spans("B0 I0 O B1"), "[0-1 0][3-3 1]");
  EXPECT_EQ(Spans("B0 B0 I0"), "[0-0 0][1-2 0]");
  EXPECT_EQ(Spans("I0 I0 O I1"), "[0-1 0][3-3 1]");
  EXPECT_EQ(Spans("B0 I1 I1 I0"), "[0-0 0][1-2 1][3-3 0]");
}

TEST(SpanF1Test, ByHand) {
  SpanF1 score(2);
  EXPECT_EQ(score.overall().f1(), 0);
  score.Add(Tags("B0 I0 O B1 B1"), Tags("B0 I0 O B1 I1"));
  score.Add(Tags("O O B0"), Tags("B1 O B0"));
  EXPECT_EQ(score.overall().actual, 4);
  EXPECT_EQ(score.overall().predicted, 4);
  EXPECT_EQ(score.overall().correct, 2);
  EXPECT_EQ(score.overall().f1(), 0.5);
  EXPECT_EQ(score.of_type(0).f1(), 1);
  EXPECT_EQ(score.of_type(1).precision(), 0);
  EXPECT_EQ(score.of_type(1).recall(), 0);
  EXPECT_EQ(score.of_type(1).f1(), 0);
  score.Add(Tags("O"), Tags("B0"));
  EXPECT_DOUBLE_EQ(score.of_type(0).precision(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(score.of_type(0).recall(), 1);
  EXPECT_DOUBLE_EQ(score.of_type(0).f1(), 0.8);
}

}  // namespace
}  // namespace evograd
