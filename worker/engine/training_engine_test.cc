// Goal: what engine.h promises of one engine and of groups: same bits on any number of ranks,
// retained or recomputed members alike, metrics that mean what they say, errors that name the
// place. Method: a small network with batch norm and dropout, stepped by in-process ranks; digests
// of theta, lambda and all results are compared as text.
#include "worker/engine/training_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/engine/memory_meter.h"
#include "worker/engine/testing/engine_rig.h"

namespace evograd {
namespace {

using testing::HasSubstr;

const char* const kKinds[] = {"EVOGRAD",
                              "EVOGRAD_ANTITHETIC",
                              "EVOGRAD_SHARED",
                              "EVOGRAD_GUIDED",
                              "FINITE_DIFFERENCE",
                              "NEUMANN",
                              "CG damping: 4",
                              "T1T2",
                              "NONE"};

// One rank, some steps.
std::unique_ptr<TrainingEngine> Stepped(const v1::JobSpec& spec, int steps,
                                        const ConvProblemOptions& problem = {}) {
  auto engine = MakeRigEngine(spec, problem);
  EXPECT_TRUE(engine->Initialise().ok());
  const auto group = InProcessGroup(1);
  for (int step = 0; step < steps; ++step) {
    const absl::Status status = engine->RunStep(*group[0]);
    EXPECT_TRUE(status.ok()) << status;
  }
  return engine;
}

TEST(TrainingEngineTest, SameBitsOnAnyNumberOfRanks) {
  std::set<std::string> different;
  for (const int shards : {1, 2, 4}) {
    for (const int population : {2, 3, 4}) {
      const v1::JobSpec spec =
          RigSpec(absl::StrCat("virtual_workers: ", shards, " evaluation_interval_steps: 2",
                               " estimator { population: ", population, " }"));
      const std::string alone = RunAndDigest(spec, 1, 3);
      for (const int ranks : {2, 3, 4}) {
        EXPECT_EQ(RunAndDigest(spec, ranks, 3), alone)
            << ranks << " ranks, V = " << shards << ", K = " << population;
      }
      different.insert(alone);
    }
  }
  EXPECT_EQ(different.size(), 9u) << "digests that do not tell jobs apart prove nothing";
}

TEST(TrainingEngineTest, EveryEstimatorHasTheSameBitsOnAnyNumberOfRanks) {
  std::set<std::string> different;
  for (const char* kind : kKinds) {
    for (const char* type : {"FLOAT32", "FLOAT64"}) {
      for (const char* order : {"BASE_FIRST", "HYPER_FIRST"}) {
        const v1::JobSpec spec =
            RigSpec(absl::StrCat("virtual_workers: 4 data_type: ", type, " step_order: ", order,
                                 " estimator { population: 4 kind: ", kind, " }"));
        const std::string alone = RunAndDigest(spec, 1, 2);
        EXPECT_EQ(RunAndDigest(spec, 3, 2), alone) << kind << " " << type << " " << order;
        different.insert(alone);
      }
    }
  }
  // The order means nothing where both updates are made together, or where there is only one: but
  // the latter's validation losses are not there either.
  EXPECT_EQ(different.size(), 32u);
}

TEST(TrainingEngineTest, RetainedAndRecomputedMembersGiveTheSameBits) {
  for (const char* common : {"false", "true"}) {
    for (const char* kind :
         {"EVOGRAD", "EVOGRAD_ANTITHETIC", "EVOGRAD_SHARED", "EVOGRAD_GUIDED guidance: 0.1"}) {
      const auto digest = [&](const char* graph) {
        return RunAndDigest(
            RigSpec(absl::StrCat("estimator { population: 4 kind: ", kind, " member_graph: ", graph,
                                 " common_layer_noise: ", common, " }")),
            2, 3);
      };
      const std::string retained = digest("RETAIN");
      EXPECT_EQ(digest("RECOMPUTE"), retained) << kind;
      EXPECT_EQ(digest("MEMBER_GRAPH_UNSPECIFIED"), retained) << kind;
    }
  }
}

TEST(TrainingEngineTest, CommonLayerNoiseRemovesTheDifferencesOfDropout) {
  // At sigma 1e-9 members differ by their layer noise alone.
  const auto spread = [](const char* common) {
    const auto engine = Stepped(RigSpec(absl::StrCat("estimator { population: 8 sigma: 1e-9 ",
                                                     "common_layer_noise: ", common, " }")),
                                1);
    const auto& losses = engine->pending()[0].metrics().member_losses();
    return *std::max_element(losses.begin(), losses.end()) -
           *std::min_element(losses.begin(), losses.end());
  };
  EXPECT_GT(spread("false"), 1e-3);
  EXPECT_LT(spread("true"), 1e-6);
}

TEST(TrainingEngineTest, ResultsCarryTheFiguresOfTheStep) {
  const auto engine =
      Stepped(RigSpec("evaluation_interval_steps: 2 estimator { population: 3 }"), 4);
  ASSERT_EQ(engine->pending().size(), 4u);
  EXPECT_EQ(engine->phases(), 8);
  const v1::StepResult& first = engine->pending()[0];
  EXPECT_EQ(first.initial_hyperparameters_size(), 5);
  EXPECT_EQ(first.hyperparameter_names(4), "class_2");
  for (int step = 0; step < 4; ++step) {
    const v1::StepResult& result = engine->pending()[step];
    EXPECT_EQ(result.step(), step);
    EXPECT_EQ(result.hypergradient_size(), 5);
    EXPECT_EQ(result.has_evaluation(), step % 2 == 0) << step;
    EXPECT_EQ(result.initial_hyperparameters_size(), step == 0 ? 5 : 0);
    const v1::StepMetrics& metrics = result.metrics();
    EXPECT_EQ(metrics.step(), step);
    EXPECT_GT(metrics.train_loss(), 0.1);
    EXPECT_GT(metrics.validation_loss(), 0.1);
    EXPECT_EQ(metrics.member_losses_size(), 3);
    EXPECT_GT(metrics.weights_entropy(), 0);
    EXPECT_LE(metrics.weights_entropy(), std::log(3.0) + 1e-12);
    double squares = 0;
    for (const double g : result.hypergradient()) squares += g * g;
    EXPECT_DOUBLE_EQ(metrics.hypergradient_norm(), std::sqrt(squares));
    EXPECT_GT(squares, 0);
    EXPECT_EQ(metrics.hyperparameters_size(), 5);
    EXPECT_GT(metrics.seconds(), 0);
  }
  EXPECT_EQ(engine->pending()[2].evaluation().step(), 2);
  engine->Forget(3);
  ASSERT_EQ(engine->pending().size(), 1u);
  EXPECT_EQ(engine->pending()[0].step(), 3);
}

TEST(TrainingEngineTest, TheCoordinatorsAdvanceGivesTheSameChecksums) {
  for (const char* kind : kKinds) {
    const v1::JobSpec spec = RigSpec(absl::StrCat("estimator { kind: ", kind, " }"));
    const auto engine = Stepped(spec, 3);
    const OptimizerConfig config;
    const auto& initial = engine->pending()[0].initial_hyperparameters();
    HyperState state = InitialHyperState({initial.begin(), initial.end()}, config);
    for (const v1::StepResult& result : engine->pending()) {
      ASSERT_TRUE(Advance(config, absl::MakeConstSpan(result.hypergradient()), &state).ok());
      EXPECT_EQ(Checksum(state), result.state_checksum()) << kind << " " << result.step();
    }
    const bool moved = state.values != std::vector<double>{initial.begin(), initial.end()};
    EXPECT_EQ(moved, std::string(kind) != "NONE") << kind;
  }
}

TEST(TrainingEngineTest, MembersLeaveNoTraceInTheBatchNormStatistics) {
  // Whatever the population does, the base's buffers after a step are those of its own forward.
  const auto buffers = [](const char* estimator) {
    const auto engine = Stepped(RigSpec(absl::StrCat("step_order: BASE_FIRST ", estimator)), 1);
    const at::Tensor& tensor = engine->parts().state->buffers;
    const double* values = static_cast<const double*>(tensor.const_data_ptr());
    return std::vector<double>(values, values + tensor.numel());
  };
  const std::vector<double> plain = buffers("estimator { kind: NONE }");
  EXPECT_EQ(buffers("estimator { population: 5 member_graph: RETAIN }"), plain);
  EXPECT_EQ(buffers("estimator { population: 5 member_graph: RECOMPUTE }"), plain);
  EXPECT_EQ(buffers("estimator { population: 5 kind: EVOGRAD_SHARED }"), plain);
  EXPECT_EQ(buffers("estimator { kind: T1T2 }"), plain);
  EXPECT_NE(plain, std::vector<double>(plain.size(), 0.0));
}

// Peak of tensor memory that a step allocates, after two steps that allocate what is kept.
int64_t StepPeak(const std::string& estimator) {
  const auto engine = Stepped(RigSpec(estimator), 2);
  const auto group = InProcessGroup(1);
  const MemoryMeter meter;
  EXPECT_TRUE(engine->RunStep(*group[0]).ok());
  return meter.peak_bytes();
}

TEST(TrainingEngineTest, MemoryDoesNotGrowWithThePopulation) {
  const int64_t plain = StepPeak("estimator { kind: NONE }");
  EXPECT_GT(plain, 10'000);
  for (const char* kind : {"EVOGRAD", "EVOGRAD_ANTITHETIC", "EVOGRAD_SHARED", "EVOGRAD_GUIDED"}) {
    const auto peak = [&](int population) {
      return StepPeak(absl::StrCat("estimator { member_graph: RECOMPUTE kind: ", kind,
                                   " population: ", population, " }"));
    };
    const int64_t two = peak(2);
    EXPECT_EQ(peak(32), two) << kind;
    EXPECT_LT(two, plain * 1.2) << kind;
  }
  // The meter would see graphs that are kept.
  EXPECT_GT(StepPeak("estimator { member_graph: RETAIN population: 32 }"), 2 * plain);
}

TEST(TrainingEngineTest, StepsDoNotLeak) {
  const auto engine = Stepped(RigSpec("virtual_workers: 2"), 2);
  const auto group = InProcessGroup(1);
  const MemoryMeter meter;
  for (int step = 0; step < 20; ++step) ASSERT_TRUE(engine->RunStep(*group[0]).ok());
  EXPECT_EQ(meter.live_bytes(), 0);
}

TEST(TrainingEngineTest, CalibrationMultipliesByTauLrOverSigmaSquared) {
  const auto gradient = [](const char* calibrated) {
    const auto engine = Stepped(RigSpec(absl::StrCat("step_order: HYPER_FIRST estimator { tau: 0.2 "
                                                     "inner_learning_rate: 0.3 calibrated: ",
                                                     calibrated, " }")),
                                1);
    return engine->pending()[0].hypergradient(0);
  };
  EXPECT_NEAR(gradient("true") / gradient("false"), 0.2 * 0.3 / (0.01 * 0.01), 1e-6);
}

TEST(TrainingEngineTest, OrderIsTheProblemsUnlessTheJobSaysOtherwise) {
  const auto digest = [](const char* order, bool base_first) {
    ConvProblemOptions problem;
    problem.base_first = base_first;
    return RunAndDigest(RigSpec(order), 1, 2, problem);
  };
  EXPECT_EQ(digest("", true), digest("step_order: BASE_FIRST", false));
  EXPECT_EQ(digest("", false), digest("step_order: HYPER_FIRST", true));
  EXPECT_NE(digest("", false), digest("", true));
}

TEST(TrainingEngineTest, AStepAfterTheNanNamesItselfAndLeavesTheStateAlone) {
  for (const char* kind : kKinds) {
    ConvProblemOptions problem;
    problem.nan_step = 1;
    const auto engine =
        Stepped(RigSpec(absl::StrCat("estimator { kind: ", kind, " }")), 1, problem);
    const std::string before = Digest(*engine);
    const auto group = InProcessGroup(1);
    const absl::Status status = engine->RunStep(*group[0]);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << kind;
    EXPECT_THAT(std::string(status.message()), HasSubstr("step 1: ")) << kind;
    EXPECT_THAT(std::string(status.message()), HasSubstr("nan")) << kind;
    // NONE has the hyper phase behind it, in which nothing can be NaN.
    if (std::string(kind) != "NONE") {
      EXPECT_EQ(Digest(*engine), before) << kind;
    }
  }
}

TEST(TrainingEngineTest, AnInfiniteGradientNamesItsTensor) {
  ConvProblemOptions problem;
  problem.infinite_gradient_step = 1;
  for (const int shards : {1, 2}) {
    const auto engine = Stepped(
        RigSpec(absl::StrCat("step_order: BASE_FIRST virtual_workers: ", shards)), 1, problem);
    const std::string before = Digest(*engine);
    const auto group = InProcessGroup(1);
    const absl::Status status = engine->RunStep(*group[0]);
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(status.message()), HasSubstr("step 1: base step"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("out.bias[0]"));
    EXPECT_EQ(Digest(*engine), before);
  }
}

TEST(TrainingEngineTest, ADivergedThetaIsNamed) {
  // The step makes theta infinite; the next one's error says where.
  const auto engine =
      Stepped(RigSpec("step_order: BASE_FIRST data_type: FLOAT32 estimator { kind: NONE }"
                      " base_optimizer { kind: SGD learning_rate: 1e30 weight_decay: 1e30 }"),
              1);
  const auto group = InProcessGroup(1);
  absl::Status status;
  for (int step = 0; step < 3 && status.ok(); ++step) status = engine->RunStep(*group[0]);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("theta is")) << status;
}

TEST(TrainingEngineTest, ACancelledStepEndsAndCanBeTakenUpAgain) {
  CancelFlag cancelled{false};
  const v1::JobSpec spec = RigSpec("");
  auto engine = *TrainingEngine::Create(spec, "uid", EngineOptions(),
                                        MakeConvProblem(ConvProblemOptions()), cancelled);
  ASSERT_TRUE(engine->Initialise().ok());
  const auto group = InProcessGroup(1);
  cancelled = true;
  EXPECT_EQ(engine->RunStep(*group[0]).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(engine->phases(), 0);
  cancelled = false;
  EXPECT_TRUE(engine->RunStep(*group[0]).ok());
  EXPECT_EQ(Digest(*engine), Digest(*Stepped(spec, 1)));
}

TEST(TrainingEngineTest, AnUnresolvedSpecIsRefused) {
  const CancelFlag never{false};
  v1::JobSpec spec = RigSpec("");
  spec.mutable_estimator()->clear_population();
  EXPECT_EQ(TrainingEngine::Create(spec, "uid", EngineOptions(), MakeConvProblem({}), never)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(
      TrainingEngine::Create(RigSpec(""), "uid", EngineOptions(), MakeConvProblem({}), never).ok());
}

TEST(TrainingEngineTest, AnUnknownDeviceIsAnErrorAndNoCrash) {
  const CancelFlag never{false};
  for (const char* device : {"no-such-device", "cuda:63"}) {
    EXPECT_FALSE(TrainingEngine::Create(RigSpec(""), "uid", EngineOptions{device},
                                        MakeConvProblem({}), never)
                     .ok())
        << device;
  }
}

}  // namespace
}  // namespace evograd
