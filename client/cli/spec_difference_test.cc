// Goal: what differs is named with both values, at any depth, and nothing is where nothing differs.
// Method: specs by hand.
#include "client/cli/spec_difference.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::JobSpec Parse(const std::string& text) {
  v1::JobSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec));
  return spec;
}

constexpr char kSpec[] = R"(
    problem { toy1d { } } steps: 200 estimator { kind: EVOGRAD population: 2 sigma: 0.001 }
    base_optimizer { schedule { decay_steps: [10, 20] } })";

TEST(SpecDifferenceTest, TheSameIsTheSame) {
  EXPECT_EQ(SpecDifference(Parse(kSpec), Parse(kSpec)), "");
}

TEST(SpecDifferenceTest, NamesFieldsAndValues) {
  v1::JobSpec other = Parse(kSpec);
  other.set_steps(300);
  other.mutable_estimator()->set_population(4);
  EXPECT_EQ(SpecDifference(Parse(kSpec), other),
            "estimator.population (2 there, 4 here), steps (200 there, 300 here)");
  other = Parse(kSpec);
  other.mutable_estimator()->clear_sigma();
  other.mutable_estimator()->set_kind(v1::Estimator::T1T2);
  other.mutable_base_optimizer()->mutable_schedule()->set_decay_steps(1, 25);
  other.mutable_problem()->mutable_rotation()->set_data_dir(std::string(500, 'x'));
  const std::string text = SpecDifference(Parse(kSpec), other);
  EXPECT_THAT(text, HasSubstr("estimator.kind (EVOGRAD there, T1T2 here)"));
  EXPECT_THAT(text, HasSubstr("estimator.sigma (0.001 there, none here)"));
  EXPECT_THAT(text, HasSubstr("base_optimizer.schedule.decay_steps[1] (20 there, 25 here)"));
  EXPECT_THAT(text, HasSubstr("problem.toy1d (given there, none here)"));
  EXPECT_THAT(text, Not(HasSubstr(std::string(100, 'x'))));
}

TEST(SpecDifferenceTest, ManyAreCounted) {
  v1::JobSpec other = Parse(kSpec);
  other.set_steps(1);
  other.set_seed(1);
  other.set_virtual_workers(1);
  other.set_pipeline_depth(1);
  other.set_min_workers(1);
  other.set_max_workers(1);
  other.set_threads(1);
  EXPECT_THAT(SpecDifference(Parse(kSpec), other), HasSubstr(" and 2 more"));
}

}  // namespace
}  // namespace evograd
