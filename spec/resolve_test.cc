// Goal: every default is filled as job.proto states it, and every wrong field is named with its
// value. Method: a table of edits to one good spec; each wrong value has a twin just inside the
// bound that is accepted.
#include "spec/resolve.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "spec/testing/field_case.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kToy[] = "problem { toy1d {} } steps: 5 ";
constexpr char kRotation[] = "problem { rotation { data_dir: '/data' } } steps: 5 ";

class FieldTest : public ::testing::TestWithParam<FieldCase> {};

TEST_P(FieldTest, WrongIsNamedAndItsTwinIsAccepted) {
  ExpectWrongIsNamedAndItsTwinIsAccepted(GetParam());
}

FieldCase Toy(const std::string& good, const std::string& wrong, const std::string& field,
              const std::string& says) {
  return {kToy + good, kToy + wrong, field, says};
}
FieldCase Rotation(const std::string& good, const std::string& wrong, const std::string& field,
                   const std::string& says) {
  const std::string head = "steps: 5 problem { rotation { data_dir: '/d' ";
  return {head + good + " } }", head + wrong + " } }", "problem.rotation." + field, says};
}

INSTANTIATE_TEST_SUITE_P(
    Estimator, FieldTest,
    ::testing::Values(
        Toy("estimator { population: 1 }", "estimator { population: 0 }", "estimator.population",
            "0 is outside 1 to 4096"),
        Toy("estimator { population: 4096 }", "estimator { population: 4097 }",
            "estimator.population", "4097"),
        Toy("estimator { population: 4 kind: EVOGRAD_ANTITHETIC }",
            "estimator { population: 3 kind: EVOGRAD_ANTITHETIC }", "estimator.population", "odd"),
        Toy("estimator { population: 2 kind: EVOGRAD_SHARED }",
            "estimator { population: 1 kind: EVOGRAD_SHARED }", "estimator.population",
            "2 or more"),
        Toy("estimator { guidance: 1 gradient_at: BASE }",
            "estimator { guidance: 1.1 gradient_at: BASE }", "estimator.guidance", "from 0 to 1"),
        Toy("estimator { guidance: 0.1 gradient_at: LOOK_AHEAD }", "estimator { guidance: 0.1 }",
            "estimator.gradient_at", "BASE or LOOK_AHEAD"),
        Toy("estimator { kind: EVOGRAD_GUIDED population: 4 }",
            "estimator { kind: EVOGRAD_GUIDED population: 3 }", "estimator.population", "odd"),
        Toy("estimator { kind: CG iterations: 1 }", "estimator { kind: CG iterations: -1 }",
            "estimator.iterations", "-1 is outside 0 to"),
        Toy("estimator { kind: CG damping: 0 }", "estimator { kind: CG damping: -1 }",
            "estimator.damping", "-1"),
        Toy("estimator { kind: FINITE_DIFFERENCE difference_radius: 0.1 }",
            "estimator { kind: FINITE_DIFFERENCE difference_radius: 0 }",
            "estimator.difference_radius", "greater than 0"),
        Toy("base_optimizer { max_gradient_norm: 1 }", "base_optimizer { max_gradient_norm: -1 }",
            "base_optimizer.max_gradient_norm", "-1"),
        Toy("base_optimizer { schedule { decay_steps: [3, 7] } }",
            "base_optimizer { schedule { decay_steps: [7, 3] } }",
            "base_optimizer.schedule.decay_steps", "3 follows 7"),
        Toy("meta_optimizer { schedule { warmup_steps: 3 linear_to_zero_at_step: 4 } }",
            "meta_optimizer { schedule { warmup_steps: 4 linear_to_zero_at_step: 4 } }",
            "meta_optimizer.schedule.linear_to_zero_at_step", "not after the warm-up"),
        Toy("estimator { sigma: 1e-3 }", "estimator { sigma: 0 }", "estimator.sigma",
            "greater than 0"),
        Toy("estimator { sigma: 1 }", "estimator { sigma: -1 }", "estimator.sigma", "-1"),
        Toy("estimator { tau: 0.5 }", "estimator { tau: 0 }", "estimator.tau", "greater than 0"),
        Toy("estimator { tau: 0.5 }", "estimator { tau: nan }", "estimator.tau", "nan"),
        Toy("estimator { tau: 0.5 }", "estimator { tau: inf }", "estimator.tau", "inf"),
        Toy("estimator { kind: NONE } base_optimizer { learning_rate: 0 }",
            "estimator { kind: T1T2 } base_optimizer { learning_rate: 0 }",
            "estimator.inner_learning_rate", "greater than 0"),
        Toy("estimator { inner_learning_rate: 0 }",
            "estimator { inner_learning_rate: 0 calibrated: true }",
            "estimator.inner_learning_rate", "greater than 0")));

INSTANTIATE_TEST_SUITE_P(
    Optimizer, FieldTest,
    ::testing::Values(
        Toy("base_optimizer { learning_rate: 0 }", "base_optimizer { learning_rate: -0.1 }",
            "base_optimizer.learning_rate", "-0.1"),
        Toy("meta_optimizer { kind: SGD momentum: 0.9 }",
            "meta_optimizer { kind: SGD momentum: 1 }", "meta_optimizer.momentum", "less than 1"),
        Toy("meta_optimizer { kind: SGD momentum: 0.9 }",
            "meta_optimizer { kind: ADAM momentum: 0.9 }", "meta_optimizer.momentum",
            "no effect on ADAM"),
        Toy("meta_optimizer { kind: SGD momentum: 0.9 nesterov: true }",
            "meta_optimizer { kind: SGD nesterov: true }", "meta_optimizer.nesterov", "momentum"),
        Toy("base_optimizer { weight_decay: 0 }", "base_optimizer { weight_decay: -1 }",
            "base_optimizer.weight_decay", "-1"),
        Toy("estimator { kind: EVOGRAD } meta_optimizer { weight_decay: 0.1 }",
            "estimator { kind: NONE } meta_optimizer { weight_decay: 0.1 }",
            "meta_optimizer.weight_decay", "NONE"),
        Toy("base_optimizer { beta1: 0 }", "base_optimizer { beta1: 1 }", "base_optimizer.beta1",
            "less than 1"),
        Toy("base_optimizer { beta2: 0.5 }", "base_optimizer { beta2: -0.5 }",
            "base_optimizer.beta2", "-0.5"),
        Toy("base_optimizer { epsilon: 1e-12 }", "base_optimizer { epsilon: 0 }",
            "base_optimizer.epsilon", "greater than 0")));

INSTANTIATE_TEST_SUITE_P(
    Job, FieldTest,
    ::testing::Values(
        FieldCase{kToy, "problem { toy1d {} }", "steps", "is missing"},
        FieldCase{kToy, "problem { toy1d {} } steps: -3", "steps", "-3"},
        FieldCase{kToy, "problem {} steps: 5", "problem", "one of toy1d, rotation"},
        FieldCase{kToy, "steps: 5", "problem", "is missing"},
        Toy("virtual_workers: 4", "virtual_workers: 3", "virtual_workers", "power of two"),
        Toy("virtual_workers: 1024", "virtual_workers: 2048", "virtual_workers", "2048"),
        Toy("pipeline_depth: 256", "pipeline_depth: 257", "pipeline_depth", "1 to 256"),
        Toy("min_workers: 1 max_workers: 3", "min_workers: -1 max_workers: 3", "min_workers", "-1"),
        Toy("min_workers: 3 max_workers: 3", "min_workers: 3 max_workers: 2", "max_workers",
            "less than min_workers, 3"),
        Toy("threads: 256", "threads: 257", "threads", "257"),
        Toy("evaluation_interval_steps: 1", "evaluation_interval_steps: -1",
            "evaluation_interval_steps", "negative"),
        Toy("checkpoint_interval_steps: 1", "checkpoint_interval_steps: -1",
            "checkpoint_interval_steps", "negative"),
        Toy("keep_checkpoints { every_steps: 1 }", "keep_checkpoints { every_steps: -1 }",
            "keep_checkpoints.every_steps", "negative"),
        FieldCase{"problem { toy1d {} } steps: 2000 keep_checkpoints { every_steps: 2 }",
                  "problem { toy1d {} } steps: 2000 keep_checkpoints { every_steps: 1 }",
                  "keep_checkpoints.every_steps", "at most 1000"},
        Toy("keep_checkpoints { best_metric: 'x' } evaluation_interval_steps: 1",
            "keep_checkpoints { best_metric: 'x' }", "evaluation_interval_steps", "is missing"),
        Toy("keep_checkpoints { best_metric: 'x' least: true } evaluation_interval_steps: 1",
            "keep_checkpoints { least: true } evaluation_interval_steps: 1",
            "keep_checkpoints.best_metric", "is missing"),
        Toy("max_restarts: 1", "max_restarts: -1", "max_restarts", "negative"),
        Toy("display_name: 'two words'", "display_name: 'two\\nlines'", "display_name", "control"),
        // C1's CSI, and what turns the direction of the text after it.
        Toy("display_name: 'Gr\\303\\266\\303\\237e'", "display_name: 'a\\302\\2332J'",
            "display_name", "control"),
        Toy("display_name: 'a b'", "display_name: 'a\\342\\200\\256b'", "display_name", "control"),
        Toy("collective_timeout_seconds: 3600", "collective_timeout_seconds: 3601",
            "collective_timeout_seconds", "3600"),
        Toy("data_type: FLOAT64", "data_type: 17", "data_type", "17 is no value of DataType")));

INSTANTIATE_TEST_SUITE_P(
    Problem, FieldTest,
    ::testing::Values(
        FieldCase{"problem { toy1d { initial_x: -1 } } steps: 1",
                  "problem { toy1d { initial_x: nan } } steps: 1", "problem.toy1d.initial_x",
                  "nan"},
        FieldCase{"problem { toy1d { initial_lambda: -1 } } steps: 1",
                  "problem { toy1d { initial_lambda: -1 x_at_optimum: true } } steps: 1",
                  "problem.toy1d.initial_lambda", "more than -1"},
        FieldCase{kRotation, "problem { rotation {} } steps: 5", "problem.rotation.data_dir",
                  "is missing"},
        FieldCase{kRotation, "problem { rotation { data_dir: 'data' } } steps: 5",
                  "problem.rotation.data_dir", "`data` is relative"},
        FieldCase{kRotation, "problem { rotation { data_dir: '/a\\000b' } } steps: 5",
                  "problem.rotation.data_dir", "control"},
        Rotation("angle_degrees: 0", "angle_degrees: 181", "angle_degrees", "181"),
        Rotation("angle_degrees: -180", "angle_degrees: nan", "angle_degrees", "nan"),
        Rotation("train_examples: 128", "train_examples: -1", "train_examples", "-1"),
        Rotation("validation_examples: 128", "validation_examples: -1", "validation_examples",
                 "-1"),
        Rotation("test_examples: 1", "test_examples: -1", "test_examples", "-1"),
        Rotation("batch_size: 128 train_examples: 128", "batch_size: 129 train_examples: 128",
                 "batch_size", "more than the 128 of train_examples"),
        Rotation("validation_batch_size: 10000", "validation_batch_size: 10001",
                 "validation_batch_size", "10000"),
        Rotation("batch_size: 1", "batch_size: -1", "batch_size", "-1"),
        FieldCase{
            "steps: 5 virtual_workers: 4 problem { rotation { data_dir: '/d' batch_size: 12 } }",
            "steps: 5 virtual_workers: 4 problem { rotation { data_dir: '/d' batch_size: 10 } }",
            "problem.rotation.batch_size", "4 equal shards"}));

TEST(ResolveTest, DefaultsAreTheProtosOwn) {
  v1::JobSpec spec = ParseSpec(kRotation);
  ASSERT_THAT(Resolve(&spec), IsEmpty());
  const v1::JobSpec expected = ParseSpec(R"(
    problem { rotation { data_dir: '/data' angle_degrees: 30 train_examples: 40000
                         validation_examples: 10000 batch_size: 128 validation_batch_size: 128 } }
    estimator { kind: EVOGRAD population: 2 sigma: 0.001 tau: 0.05 noise: RADEMACHER
                inner_learning_rate: 0.001 calibrated: false guidance: 0
                common_layer_noise: false gradient_at: RECOMBINED iterations: 5
                difference_radius: 0.01 }
    base_optimizer { kind: ADAM learning_rate: 0.001 beta1: 0.9 beta2: 0.999 epsilon: 1e-8 }
    meta_optimizer { kind: ADAM learning_rate: 0.001 beta1: 0.9 beta2: 0.999 epsilon: 1e-8 }
    steps: 5 virtual_workers: 1 pipeline_depth: 1 min_workers: 1 max_workers: 2 threads: 1
    data_type: FLOAT32
    max_restarts: 10 collective_timeout_seconds: 60 checkpoint_interval_seconds: 60)");
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(spec, expected))
      << spec.DebugString();

  v1::JobSpec toy = ParseSpec(kToy);
  ASSERT_THAT(Resolve(&toy), IsEmpty());
  EXPECT_EQ(toy.problem().toy1d().initial_lambda(), 1);
}

TEST(ResolveTest, TheGuidedEstimatorHasDefaultsOfItsOwn) {
  v1::JobSpec spec = ParseSpec(absl::StrCat(kToy, "estimator { kind: EVOGRAD_GUIDED }"));
  ASSERT_THAT(Resolve(&spec), IsEmpty());
  const v1::Estimator expected = ParseSpec(R"(
    estimator { kind: EVOGRAD_GUIDED population: 2 sigma: 1e-5 tau: 0.05 noise: RADEMACHER
                inner_learning_rate: 0.001 calibrated: true guidance: 1 common_layer_noise: true
                gradient_at: LOOK_AHEAD iterations: 5 difference_radius: 0.01 })")
                                     .estimator();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(spec.estimator(), expected))
      << spec.DebugString();
}

TEST(ResolveTest, AnExplicitZeroIsKeptWhereZeroMeansSomething) {
  v1::JobSpec spec = ParseSpec(
      "problem { toy1d { initial_lambda: 0 } } steps: 1 meta_optimizer { learning_rate: 0 beta1: 0 "
      "}");
  ASSERT_THAT(Resolve(&spec), IsEmpty());
  EXPECT_EQ(spec.problem().toy1d().initial_lambda(), 0);
  EXPECT_EQ(spec.meta_optimizer().learning_rate(), 0);
  EXPECT_EQ(spec.meta_optimizer().beta1(), 0);
}

TEST(ResolveTest, DefaultsFollowOtherFields) {
  v1::JobSpec spec = ParseSpec(
      "problem { toy1d {} } steps: 1 min_workers: 3 base_optimizer { learning_rate: 0.25 }");
  ASSERT_THAT(Resolve(&spec), IsEmpty());
  EXPECT_EQ(spec.max_workers(), 3);
  EXPECT_EQ(spec.estimator().inner_learning_rate(), 0.25);

  v1::JobSpec large = ParseSpec("problem { toy1d {} } steps: 1 estimator { population: 4096 }");
  ASSERT_THAT(Resolve(&large), IsEmpty());
  EXPECT_EQ(large.max_workers(), limits::kMaxWorkersPerJob);
}

TEST(ResolveTest, ResolvingTwiceChangesNothing) {
  v1::JobSpec once = ParseSpec(kRotation);
  Resolve(&once);
  v1::JobSpec twice = once;
  EXPECT_THAT(Resolve(&twice), IsEmpty());
  EXPECT_EQ(once.SerializeAsString(), twice.SerializeAsString());
}

TEST(ResolveTest, AllViolationsAreNamedInOrder) {
  v1::JobSpec spec = ParseSpec("steps: -1 estimator { tau: 0 population: 0 }");
  std::vector<std::string> fields;
  for (const FieldViolation& violation : Resolve(&spec)) fields.push_back(violation.field);
  EXPECT_THAT(fields,
              ::testing::ElementsAre("problem", "estimator.population", "estimator.tau", "steps"));
}

TEST(ResolveTest, FieldsOfAnotherVersionAreRefused) {
  v1::JobSpec spec = ParseSpec(kToy);
  const std::string known = spec.SerializeAsString();
  // Field 1000, a varint, as a newer client would send it inside `estimator` (field 2).
  const std::string unknown = known + std::string("\x12\x03\xc0\x3e\x01", 5);
  ASSERT_TRUE(spec.ParseFromString(unknown));
  const std::vector<FieldViolation> violations = Resolve(&spec);
  ASSERT_THAT(violations, SizeIs(1));
  EXPECT_EQ(violations[0].field, "estimator");
  EXPECT_THAT(violations[0].description, HasSubstr("field number 1000"));
}

TEST(CheckJobIdTest, LabelsAreAcceptedAndOthersNamed) {
  for (const std::string& good :
       std::vector<std::string>{"abcd", "a-b-1", "run-2024-01-01", std::string(63, 'a')}) {
    EXPECT_FALSE(CheckJobId(good).has_value()) << good;
  }
  for (const std::string wrong :
       {"", "abc", "1abc", "-abc", "abc-", "Abcd", "ab_d", "ab/d", "äbcd"}) {
    ASSERT_TRUE(CheckJobId(wrong).has_value()) << wrong;
    EXPECT_EQ(CheckJobId(wrong)->field, "job_id");
    EXPECT_THAT(CheckJobId(wrong)->description, HasSubstr("`" + wrong + "`"));
  }
  EXPECT_TRUE(CheckJobId(std::string(64, 'a')).has_value());
}

}  // namespace
}  // namespace evograd
