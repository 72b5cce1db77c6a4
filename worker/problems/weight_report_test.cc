// Goal: the figures are what their definitions say, and each kind of collapse raises its alarm
// while its healthy twin raises none. Method: examples made by hand.
#include "worker/problems/weight_report.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"

namespace evograd {
namespace {

TEST(ReportLabelsTest, CountsWrongLabelsAndThoseLearnt) {
  ProblemEvaluation evaluation;
  ReportLabels({{1, 1, false, true}, {1, 1, true, true}, {1, 1, true, false}, {1, 1, true, false}},
               &evaluation);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("noisy_share"), 0.75);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("wrong_labels_learnt"), 1 / 3.0);
  ProblemEvaluation clean;
  ReportLabels({{1, 1, false, true}}, &clean);
  EXPECT_EQ(clean.metrics.at("noisy_share"), 0);
  EXPECT_EQ(clean.metrics.count("wrong_labels_learnt"), 0u) << "there are none";
}

TEST(ReportWeightsTest, FiguresAreThoseOfTheirDefinitions) {
  ProblemEvaluation evaluation;
  ReportWeights({{1, 0.5, false}, {2, 0.25, true}, {3, 0.75, false}, {4, 0.5, true}}, &evaluation);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("weight_clean"), 0.625);
  EXPECT_DOUBLE_EQ(evaluation.metrics.at("weight_noisy"), 0.375);
  EXPECT_NEAR(evaluation.metrics.at("weight_deviation"), 0.17677669529663687, 1e-15);
  EXPECT_NEAR(evaluation.metrics.at("effective_examples"), 4 / (4 * 1.125), 1e-15);
  EXPECT_TRUE(evaluation.warnings.empty());
}

// Twenty examples of losses 0, 0.1, … with the weights given.
std::vector<std::string> WarningsOf(const std::function<double(int)>& weight,
                                    double loss_step = 0.1) {
  std::vector<WeighedExample> examples;
  for (int i = 0; i < 20; ++i) {
    WeighedExample example;
    example.loss = 2 + loss_step * i;
    example.weight = weight(i);
    examples.push_back(example);
  }
  ProblemEvaluation evaluation;
  ReportWeights(examples, &evaluation);
  EXPECT_GE(evaluation.metrics.at("effective_examples"), 0);
  EXPECT_LE(evaluation.metrics.at("effective_examples"), 1);
  return evaluation.warnings;
}

void ExpectWarning(const std::vector<std::string>& warnings, const std::string& part) {
  ASSERT_EQ(warnings.size(), 1u) << part;
  EXPECT_TRUE(absl::StrContains(warnings[0], part)) << warnings[0];
}

TEST(ReportWeightsTest, CollapseRaisesAnAlarm) {
  ExpectWarning(WarningsOf([](int i) { return 5e-6 * i; }), "collapsed to zero");
  ExpectWarning(WarningsOf([](int) { return 0; }), "collapsed to zero");
  EXPECT_TRUE(WarningsOf([](int i) { return 5e-5 * i; }).empty()) << "the largest counts";

  ExpectWarning(WarningsOf([](int i) { return i == 7 ? 0.9 : 1e-3; }), "to one example");
  EXPECT_TRUE(WarningsOf([](int i) { return i >= 7 && i < 10 ? 0.9 : 1e-3; }).empty());

  ExpectWarning(WarningsOf([](int i) { return 0.5 + 1e-5 * i; }), "to a constant");
  EXPECT_TRUE(WarningsOf([](int i) { return 0.5 + 1e-3 * i; }).empty());
  EXPECT_TRUE(WarningsOf([](int i) { return 0.5; }, 1e-4).empty())
      << "where all losses are the same, so must be the weights";
}

}  // namespace
}  // namespace evograd
