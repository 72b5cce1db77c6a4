// Goal: the estimator has the mean and the spread that the published one has on the paper's toy
// (f_T = (x - 1)^2 + lambda x^2, f_V = (x - 0.5)^2, x at its optimum 1 / (1 + lambda), normal
// noise, sigma 1, tau 0.5). Method: every step of a job whose meta learning rate is 0 is an
// independent draw at the same point; the figures that they are held to were measured with the
// published code over 200,000 draws (50,000 for K = 100). True value: (lambda - 1) / (lambda +
// 1)^3.
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "google/protobuf/text_format.h"
#include "spec/resolve.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/engine/engine.h"

namespace evograd {
namespace {

struct Figures {
  double mean = 0;
  double deviation = 0;
};

std::string Exactly(double value) { return absl::StrFormat("%.17g", value); }

std::unique_ptr<Engine> MakeToy(double lambda, const std::string& estimator,
                                const std::string& device = "cpu") {
  v1::JobSpec spec;
  const std::string text = absl::StrCat(
      "problem { toy1d { initial_lambda: ", Exactly(lambda),
      " x_at_optimum: true } } steps: 1000000 ",
      "seed: 7 data_type: FLOAT64 meta_optimizer { kind: SGD learning_rate: 0 } estimator { ",
      estimator, " }");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
  EXPECT_TRUE(Resolve(&spec).empty());
  static const CancelFlag never{false};
  auto engine = MakeEngine(spec, "uid", EngineOptions{device}, never);
  EXPECT_TRUE(engine.ok()) << engine.status();
  EXPECT_TRUE((*engine)->Initialise().ok());
  return *std::move(engine);
}

Figures Draw(double lambda, const std::string& estimator, int draws) {
  const std::unique_ptr<Engine> engine = MakeToy(lambda, estimator);
  const auto group = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  double sum = 0;
  double squares = 0;
  for (int draw = 0; draw < draws; ++draw) {
    const absl::Status status = engine->RunStep(*group[0]);
    EXPECT_TRUE(status.ok()) << status;
    const double g = engine->pending().back().hypergradient(0);
    sum += g;
    squares += g * g;
    engine->Forget(draw + 1);
  }
  const double mean = sum / draws;
  return {mean, std::sqrt(squares / draws - mean * mean)};
}

double Analytic(double lambda) { return (lambda - 1) / std::pow(lambda + 1, 3); }

struct Row {
  double lambda;
  int population;
  double mean;
  double deviation;
  int draws;
  // Of the deviation: tails are heavy where members are few.
  double tolerance;
};

class ToyTest : public testing::TestWithParam<Row> {};

TEST_P(ToyTest, MeanAndSpreadAreThePublishedOnes) {
  const Row& row = GetParam();
  const Figures figures = Draw(
      row.lambda, absl::StrCat("population: ", row.population, " sigma: 1 tau: 0.5 noise: NORMAL"),
      row.draws);
  // Four standard errors of this run, and the last digit of the reference.
  const double error = row.deviation / std::sqrt(row.draws);
  EXPECT_NEAR(figures.mean, row.mean, 4 * error + 0.0015);
  EXPECT_NEAR(figures.deviation, row.deviation, row.tolerance * row.deviation);
}

INSTANTIATE_TEST_SUITE_P(
    Reference, ToyTest,
    testing::Values(Row{0.1, 2, -0.355, 1.32, 3000, 0.4}, Row{0.5, 2, -0.065, 0.77, 3000, 0.4},
                    Row{1.0, 2, 0.016, 0.52, 3000, 0.4}, Row{2.0, 2, 0.032, 0.32, 3000, 0.4},
                    Row{0.1, 10, -0.546, 0.326, 1000, 0.25},
                    Row{0.5, 10, -0.129, 0.132, 1000, 0.25},
                    Row{1.0, 10, -0.002, 0.068, 1000, 0.25}, Row{2.0, 10, 0.033, 0.042, 1000, 0.25},
                    Row{0.1, 100, -0.551, 0.095, 100, 0.3}, Row{0.5, 100, -0.1275, 0.036, 100, 0.3},
                    Row{1.0, 100, -0.0004, 0.016, 100, 0.3},
                    Row{2.0, 100, 0.0340, 0.008, 100, 0.3}));

TEST(ToyTest, SmallSigmaAndManyMembersTendToTheAnalyticValueTimesSigmaSquaredOverTau) {
  // At the optimum of f_T one step of gradient descent with the inverse second derivative as its
  // learning rate is Newton's, for which T1-T2 is exact: 1 / (2 + 2 lambda).
  for (const double lambda : {0.5, 2.0}) {
    const Figures t1t2 = Draw(
        lambda, absl::StrCat("kind: T1T2 inner_learning_rate: ", Exactly(1 / (2 + 2 * lambda))), 1);
    EXPECT_NEAR(t1t2.mean, Analytic(lambda), 1e-12) << lambda;
    const Figures evograd =
        Draw(lambda,
             absl::StrCat("population: 100 sigma: 0.01 tau: 0.05 noise: NORMAL calibrated: true ",
                          "inner_learning_rate: ", Exactly(1 / (2 + 2 * lambda))),
             49);
    EXPECT_NEAR(evograd.mean, Analytic(lambda),
                4 * evograd.deviation / 7 + 0.02 * std::abs(Analytic(lambda)))
        << lambda;
  }
}

TEST(ToyTest, CudaGivesTheNumbersOfTheCpu) {
  if (!at::Context::hasCUDA()) GTEST_SKIP() << "no CUDA device here";
  for (const char* kind : {"EVOGRAD", "EVOGRAD_SHARED", "T1T2"}) {
    std::vector<double> gradients;
    for (const char* device : {"cpu", "cuda:0"}) {
      const auto engine =
          MakeToy(0.5, absl::StrCat("kind: ", kind, " population: 4 noise: NORMAL"), device);
      const auto group = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
      ASSERT_TRUE(engine->RunStep(*group[0]).ok());
      gradients.push_back(engine->pending()[0].hypergradient(0));
      const auto saved = engine->Serialise();
      ASSERT_TRUE(saved.ok() && engine->Restore(*saved).ok());
    }
    EXPECT_NEAR(gradients[1], gradients[0], 1e-12 * std::abs(gradients[0])) << kind;
  }
}

TEST(ToyTest, ThetaFollowsLambda) {
  const std::unique_ptr<Engine> engine = MakeToy(3, "population: 2");
  const auto group = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  ASSERT_TRUE(engine->RunStep(*group[0]).ok());
  EXPECT_DOUBLE_EQ(engine->Evaluate()->metrics().at("x"), 0.25);
  // f_T at its minimum.
  EXPECT_DOUBLE_EQ(engine->pending()[0].metrics().train_loss(), 0.5625 + 3 * 0.0625);
}

// The problem sets x itself, into a buffer that the ranks' members have used before.
TEST(ToyTest, RanksAgreeThoughTheProblemSetsX) {
  const auto run = [](int ranks) {
    std::vector<std::unique_ptr<Engine>> engines;
    for (int rank = 0; rank < ranks; ++rank) {
      engines.push_back(MakeToy(3, "population: 4 sigma: 1 tau: 0.5 noise: NORMAL"));
    }
    const auto group = InProcessCommunicator::CreateGroup(ranks, absl::Seconds(60));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] {
        absl::Status status;
        for (int step = 0; status.ok() && step < 5; ++step) {
          status = engines[rank]->RunStep(*group[rank]);
        }
        EXPECT_TRUE(status.ok()) << status;
      });
    }
    for (std::thread& thread : threads) thread.join();
    return engines[0]->pending().back().hypergradient(0);
  };
  EXPECT_EQ(run(2), run(1));
}

}  // namespace
}  // namespace evograd
