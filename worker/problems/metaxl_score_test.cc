// Goal: metrics and warnings are as metaxl_score.h says. Method: examples and best labels by hand;
// seqeval is compared with in tests/golden/span_f1_test.py.
#include "worker/problems/metaxl_score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

MetaXlData Tagging() {
  MetaXlData data;
  data.labels = TagSet::Conll().labels();  // 0: O, 3: B-PER, 4: I-PER, 7: B-LOC
  data.tags = TagSet::Conll();
  return data;
}

MetaXlData Classification() {
  MetaXlData data;
  data.labels = *LabelSet::Create({"a", "b", "c"}, "test");
  return data;
}

TEST(MetaXlScoreTest, Spans) {
  const MetaXlData data = Tagging();
  v1::MetaXl spec;
  spec.add_reported_types("LOC");
  MetaXlScore score(data, spec);
  // Labels are read at the places; what stands elsewhere does not count.
  const std::vector<int64_t> first = {7, 3, 7, 4, 0, 0, 7};
  score.Add({{0, 9, 9, 9, 9, 9, 2}, {1, 3, 4}, {3, 4, 7}}, first.data(), 1.5);
  // The third word has no place: its span is missed.
  const std::vector<int64_t> second = {0, 7, 0, 0};
  score.Add({{0, 9, 9, 2}, {1, 2}, {7, 0, 3}}, second.data(), 0.5);
  ProblemEvaluation evaluation;
  score.AddMetrics("test", true, &evaluation);
  // True spans: PER of two words, LOC, LOC, PER. Found and right: the first PER and the second LOC.
  EXPECT_EQ(evaluation.metrics.at("test_precision"), 1);
  EXPECT_EQ(evaluation.metrics.at("test_recall"), 0.5);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("test_f1"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("test_f1_reported"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("test_f1_per"), 2.0 / 3);
  EXPECT_EQ(evaluation.metrics.count("test_f1_org"), 0u);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("test_loss"), 2.0 / 5);
  EXPECT_THAT(evaluation.warnings, IsEmpty());
}

TEST(MetaXlScoreTest, NoSpanFoundIsAWarning) {
  const MetaXlData data = Tagging();
  const v1::MetaXl spec;
  MetaXlScore score(data, spec);
  const std::vector<int64_t> outside = {0, 0, 0};
  score.Add({{0, 9, 2}, {1}, {0}}, outside.data(), 0);
  ProblemEvaluation evaluation;
  score.AddMetrics("test", false, &evaluation);
  EXPECT_THAT(evaluation.warnings, IsEmpty()) << "there is none to be found";
  EXPECT_EQ(evaluation.metrics.count("test_f1_reported"), 0u);
  score.Add({{0, 9, 2}, {1}, {3}}, outside.data(), 0);
  score.AddMetrics("test", false, &evaluation);
  ASSERT_THAT(evaluation.warnings, SizeIs(1));
  EXPECT_THAT(evaluation.warnings[0], HasSubstr("test: not one span was found where there are 1"));
}

TEST(MetaXlScoreTest, Labels) {
  const MetaXlData data = Classification();
  const v1::MetaXl spec;
  MetaXlScore score(data, spec);
  const int64_t a = 0;
  const int64_t b = 1;
  score.Add({{}, {}, {0}}, &a, 1);
  score.Add({{}, {}, {1}}, &a, 2);
  ProblemEvaluation evaluation;
  score.AddMetrics("test", false, &evaluation);
  EXPECT_EQ(evaluation.metrics.at("test_accuracy"), 0.5);
  EXPECT_EQ(evaluation.metrics.at("test_loss"), 1.5);
  ASSERT_THAT(evaluation.warnings, SizeIs(1));
  EXPECT_THAT(evaluation.warnings[0], HasSubstr("all 2 texts get the same label"));
  score.Add({{}, {}, {1}}, &b, 0);
  evaluation = ProblemEvaluation();
  score.AddMetrics("test", false, &evaluation);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("test_accuracy"), 2.0 / 3);
  // F1 of a and of b are 2/3 each; c neither occurs nor is given.
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("test_macro_f1"), 2.0 / 3);
  EXPECT_THAT(evaluation.warnings, IsEmpty());
}

}  // namespace
}  // namespace evograd
