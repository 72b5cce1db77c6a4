// Goal: a job's problem is found by its kind; every kind of the API has a factory.
// Method: the kinds are read from the message's descriptor, so one that is added without a factory
// fails here.
#include "worker/problems/registry.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

namespace evograd {
namespace {

const std::atomic<bool> kNotCancelled{false};

TEST(MakeProblemTest, EveryKindOfTheApiHasAFactory) {
  const auto* oneof = v1::Problem::descriptor()->FindOneofByName("kind");
  ASSERT_GT(oneof->field_count(), 0);
  for (int i = 0; i < oneof->field_count(); ++i) {
    v1::JobSpec spec;
    v1::Problem* problem = spec.mutable_problem();
    problem->GetReflection()->MutableMessage(problem, oneof->field(i));
    const absl::Status status = MakeProblem(spec, "cpu", kNotCancelled).status();
    // Problems that need data say that it is missing.
    EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kNotFound)
        << oneof->field(i)->name() << ": " << status;
  }
}

TEST(MakeProblemTest, TheKindDecides) {
  v1::JobSpec spec;
  spec.mutable_problem()->mutable_toy1d();
  const auto toy = MakeProblem(spec, "cpu", kNotCancelled);
  ASSERT_TRUE(toy.ok()) << toy.status();
  EXPECT_EQ((*toy)->parameters().slots()[0].name, "x");
  spec.mutable_problem()->mutable_rotation()->set_data_dir("/none");
  EXPECT_EQ(MakeProblem(spec, "cpu", kNotCancelled).status().code(), absl::StatusCode::kNotFound);
}

TEST(MakeProblemTest, NoKindIsRefused) {
  const absl::Status status = MakeProblem(v1::JobSpec(), "cpu", kNotCancelled).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message().find("problem: names no problem"), 0u) << status;
}

}  // namespace
}  // namespace evograd
