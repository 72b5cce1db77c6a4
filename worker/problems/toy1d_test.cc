// Goal: losses, gradients and metrics are those of the formulas.
// Method: each is worked out by hand at a few points, in float32 and float64.
#include "worker/problems/toy1d.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>

namespace evograd {
namespace {

class Toy1dTest : public testing::TestWithParam<v1::DataType> {
 protected:
  void Make(bool x_at_optimum) {
    v1::JobSpec spec;
    v1::Toy1d* toy = spec.mutable_problem()->mutable_toy1d();
    toy->set_initial_x(-1.8);
    toy->set_initial_lambda(0.2);
    toy->set_x_at_optimum(x_at_optimum);
    spec.set_data_type(GetParam());
    auto made = MakeToy1d(spec, "cpu", cancelled_);
    ASSERT_TRUE(made.ok()) << made.status();
    problem_ = *std::move(made);
    parameters_ = at::zeros({problem_->parameters().elements()}, type());
    problem_->Bind(parameters_, at::zeros({0}, type()));
    ASSERT_TRUE(problem_->Initialise(1).ok());
  }

  at::ScalarType type() const { return GetParam() == v1::FLOAT64 ? at::kDouble : at::kFloat; }
  double tolerance() const { return GetParam() == v1::FLOAT64 ? 1e-14 : 2e-6; }
  at::Tensor Lambda(double value) { return at::full({1}, value, type()); }

  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Problem> problem_;
  at::Tensor parameters_;
};

TEST_P(Toy1dTest, BeginsWhereTheJobSays) {
  Make(false);
  EXPECT_NEAR(parameters_[0].item<double>(), -1.8, tolerance());
  EXPECT_EQ(problem_->initial_hyperparameters(), std::vector<double>{0.2});
  EXPECT_EQ(problem_->hyperparameter_names(), std::vector<std::string>{"lambda"});
  EXPECT_TRUE(problem_->base_first());
  EXPECT_FALSE(problem_->SetOptimalParameters(Lambda(3)));
  EXPECT_NEAR(parameters_[0].item<double>(), -1.8, tolerance());
}

TEST_P(Toy1dTest, GradientsAreTheFormulas) {
  Make(false);
  for (const double x : {-1.8, 0.25, 1.5}) {
    for (const double l : {0.2, 1.7}) {
      parameters_[0].fill_(x);
      const at::Tensor gradient = at::zeros_like(parameters_);
      const auto train = problem_->TrainGradient({}, Lambda(l), gradient, true);
      ASSERT_TRUE(train.ok()) << train.status();
      EXPECT_NEAR(train->loss, (x - 1) * (x - 1) + l * x * x, 10 * tolerance());
      EXPECT_NEAR(gradient[0].item<double>(), 2 * (x - 1) + 2 * l * x, 10 * tolerance());
      EXPECT_NEAR(train->hypergradient[0].item<double>(), x * x, 10 * tolerance());
      const auto validation = problem_->ValidationGradient({}, gradient);
      ASSERT_TRUE(validation.ok()) << validation.status();
      EXPECT_NEAR(*validation, (x - 0.5) * (x - 0.5), 10 * tolerance());
      EXPECT_NEAR(gradient[0].item<double>(), 2 * (x - 0.5), 10 * tolerance());
      // d/d lambda of direction * d f_T / dx.
      const auto cross = problem_->CrossGradient({}, Lambda(l), at::full_like(parameters_, -0.5));
      ASSERT_TRUE(cross.ok()) << cross.status();
      EXPECT_NEAR((*cross)[0].item<double>(), -0.5 * 2 * x, 10 * tolerance());
    }
  }
}

TEST_P(Toy1dTest, TheOptimumFollowsLambda) {
  Make(true);
  EXPECT_TRUE(problem_->SetOptimalParameters(Lambda(3)));
  EXPECT_EQ(parameters_[0].item<double>(), 0.25);
  const at::Tensor gradient = at::ones_like(parameters_);
  ASSERT_TRUE(problem_->TrainGradient({}, Lambda(3), gradient, false).ok());
  EXPECT_EQ(gradient[0].item<double>(), 0);
}

TEST_P(Toy1dTest, MetricsShowTheState) {
  Make(false);
  const auto evaluation = problem_->Evaluate(Lambda(0.5));
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  const auto& metrics = evaluation->metrics;
  EXPECT_EQ(metrics.size(), 3u);
  EXPECT_NEAR(metrics.at("x"), -1.8, tolerance());
  EXPECT_EQ(metrics.at("lambda"), 0.5);
  EXPECT_NEAR(metrics.at("validation_loss"), 2.3 * 2.3, 10 * tolerance());
}

INSTANTIATE_TEST_SUITE_P(Types, Toy1dTest, testing::Values(v1::FLOAT32, v1::FLOAT64));

}  // namespace
}  // namespace evograd
