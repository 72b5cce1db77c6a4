// Goal: a job's problem is found by its kind; every kind of the API has a factory.
// Method: the kinds are read from the message's descriptor, so one that is added without a factory
// fails here.
#include "worker/problems/registry.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

const std::atomic<bool> kNotCancelled{false};

// What a kind cannot do without, data that is not there.
const std::map<std::string, std::string> kNeeds = {
    {"rotation", "data_dir: '/none'"},
    {"meta_weight_net", "data_dir: '/none'"},
    {"lft",
     "data_dir: '/none' seen_domains: ['a', 'b'] test_domains: ['c'] auxiliary_domain: 'a' "
     "backbone: CONV4 image_extent: 84"},
    {"pretrain", "data_dir: '/none' domains: ['a'] backbone: CONV4 image_extent: 84"},
    {"metaxl",
     "data_dir: '/none' encoder_dir: '/none' source_languages: ['en'] target_language: 'fa'"},
};

TEST(MakeProblemTest, EveryKindOfTheApiHasAFactory) {
  const auto* oneof = v1::Problem::descriptor()->FindOneofByName("kind");
  ASSERT_GT(oneof->field_count(), 0);
  for (int i = 0; i < oneof->field_count(); ++i) {
    const std::string& name = oneof->field(i)->name();
    const auto needs = kNeeds.find(name);
    v1::JobSpec spec;
    const std::string text = absl::StrCat("steps: 1 problem { ", name, " { ",
                                          needs == kNeeds.end() ? "" : needs->second, " } }");
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
    for (const FieldViolation& violation : Resolve(&spec)) {
      // Plain training is pretraining's only estimator.
      if (violation.field == "estimator.kind") {
        spec.mutable_estimator()->set_kind(v1::Estimator::NONE);
      } else {
        ADD_FAILURE() << text << ": " << violation.field << ": " << violation.description;
      }
    }
    const absl::Status status = MakeProblem(spec, "cpu", kNotCancelled).status();
    // Problems that need data say that it is missing.
    EXPECT_EQ(status.code(),
              needs == kNeeds.end() ? absl::StatusCode::kOk : absl::StatusCode::kNotFound)
        << name << ": " << status;
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
