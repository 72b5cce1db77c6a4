// Goal: MetaXL's defaults are those that metaxl.proto states, and every wrong field is named.
// Method: a table of edits to one good job; each has a twin just inside the bound that is accepted.
#include "spec/metaxl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "spec/resolve.h"
#include "spec/testing/field_case.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A good job; `fields` are MetaXl's, `others` the job's.
v1::JobSpec Job(const std::string& fields, const std::string& others = "") {
  return ParseSpec(
      absl::StrCat("steps: 5 problem { metaxl { data_dir: '/data' encoder_dir: '/encoder' ", fields,
                   " } } ", others));
}

constexpr char kLanguages[] = "source_languages: 'en' target_language: 'qu' ";

std::vector<FieldViolation> Check(const std::string& fields, const std::string& others = "") {
  v1::JobSpec spec = Job(fields, others);
  return Resolve(&spec);
}

void ExpectGood(const std::string& fields, const std::string& others = "") {
  for (const FieldViolation& violation : Check(fields, others)) {
    ADD_FAILURE() << fields << others << ": " << violation.field << ": " << violation.description;
  }
}

void ExpectBad(const std::string& fields, const std::string& field, const std::string& what,
               const std::string& others = "") {
  bool found = false;
  for (const FieldViolation& violation : Check(fields, others)) {
    found |= violation.field == "problem.metaxl." + field &&
             violation.description.find(what) != std::string::npos;
  }
  EXPECT_TRUE(found) << fields << others << ": no violation of " << field << " says " << what;
}

TEST(MetaXlSpecTest, Defaults) {
  v1::JobSpec spec = Job(kLanguages);
  EXPECT_THAT(Resolve(&spec), IsEmpty());
  const v1::MetaXl& metaxl = spec.problem().metaxl();
  EXPECT_EQ(metaxl.task(), v1::MetaXl::TAGGING);
  EXPECT_EQ(metaxl.training(), v1::MetaXl::METAXL);
  EXPECT_EQ(metaxl.perturbed(), v1::MetaXl::CLASSIFIER);
  EXPECT_EQ(metaxl.overlong(), v1::MetaXl::REFUSE);
  EXPECT_EQ(metaxl.bottleneck_size(), 384);
  EXPECT_FALSE(metaxl.has_transformed_layer());
  EXPECT_EQ(metaxl.perturbed_layers(), 0);
  EXPECT_EQ(metaxl.batch_size(), 12);
  EXPECT_EQ(metaxl.target_batch_size(), 12);
  EXPECT_EQ(metaxl.source_train_size(), 0);
  EXPECT_EQ(metaxl.data_seed(), 42u);
  EXPECT_EQ(metaxl.max_sequence_length(), 200);
  EXPECT_EQ(metaxl.evaluation_max_sequence_length(), 512);
  EXPECT_EQ(metaxl.evaluation_batch_size(), 32);
  EXPECT_TRUE(metaxl.validation_dropout());

  v1::JobSpec top = Job(absl::StrCat(kLanguages, "perturbed: ENCODER_TOP"));
  EXPECT_THAT(Resolve(&top), IsEmpty());
  EXPECT_EQ(top.problem().metaxl().perturbed_layers(), 1);
}

TEST(MetaXlSpecTest, Languages) {
  ExpectGood("source_languages: 'zh_CN' source_languages: 'sr-latin' target_language: 'qu'");
  ExpectBad("source_languages: 'en'", "target_language", "is missing");
  ExpectBad("target_language: 'qu'", "source_languages", "is missing");
  ExpectGood("target_language: 'qu' training: TARGET_ONLY", "estimator { kind: NONE }");
  ExpectBad("source_languages: 'en' source_languages: 'qu' target_language: 'qu'",
            "source_languages", "qu is the target language too");
  ExpectBad("source_languages: 'en' source_languages: 'en' target_language: 'qu'",
            "source_languages", "en stands there twice");
  for (const char* name : {"../x", "a/b", "", "a b", "e:n", ".en"}) {
    ExpectBad(absl::StrCat("source_languages: '", name, "' target_language: 'qu'"),
              "source_languages", name[0] == '\0' ? "is missing" : "is no name");
  }
  ExpectBad("source_languages: 'en' target_language: '..'", "target_language", "is no name");
}

TEST(MetaXlSpecTest, Labels) {
  ExpectGood(absl::StrCat(kLanguages, "labels: 'O' labels: 'B-X' labels: 'I-X'"));
  ExpectBad(absl::StrCat(kLanguages, "labels: 'B-X'"), "labels", "lacks O");
  ExpectBad(absl::StrCat(kLanguages, "labels: 'O' labels: 'X'"), "labels", "`X` is no tag");
  ExpectBad(absl::StrCat(kLanguages, "labels: 'O' labels: 'B-X Y'"), "labels", "without blanks");
  ExpectBad(absl::StrCat(kLanguages, "labels: 'O' labels: 'O'"), "labels", "stands there twice");
  ExpectGood(absl::StrCat(kLanguages, "task: CLASSIFICATION labels: 'good' labels: 'bad'"));
  ExpectBad(absl::StrCat(kLanguages, "task: CLASSIFICATION labels: ''"), "labels", "is no label");
  ExpectGood(absl::StrCat(kLanguages, "reported_types: 'PER'"));
  ExpectBad(absl::StrCat(kLanguages, "reported_types: 'PER' reported_types: 'PER'"),
            "reported_types", "twice");
  ExpectBad(absl::StrCat(kLanguages, "reported_types: ''"), "reported_types", "empty name");
  ExpectBad(absl::StrCat(kLanguages, "task: CLASSIFICATION reported_types: 'PER'"),
            "reported_types", "no effect on CLASSIFICATION");
}

TEST(MetaXlSpecTest, Numbers) {
  const auto good = [](const std::string& fields, const std::string& others = "") {
    ExpectGood(absl::StrCat(kLanguages, fields), others);
  };
  const auto bad = [](const std::string& fields, const std::string& field, const std::string& what,
                      const std::string& others = "") {
    ExpectBad(absl::StrCat(kLanguages, fields), field, what, others);
  };
  good("transformed_layer: 0");
  good("transformed_layer: 1024");
  bad("transformed_layer: -1", "transformed_layer", "outside");
  bad("transformed_layer: 1025", "transformed_layer", "outside");
  good("bottleneck_size: 1");
  bad("bottleneck_size: -1", "bottleneck_size", "outside");
  bad("bottleneck_size: 65537", "bottleneck_size", "outside");
  good("perturbed: ENCODER_TOP perturbed_layers: 2");
  bad("perturbed: ENCODER_TOP perturbed_layers: -2", "perturbed_layers", "outside");
  bad("perturbed_layers: 2", "perturbed_layers", "no effect unless");
  good("batch_size: 6 source_train_size: 6");
  bad("batch_size: 7 source_train_size: 6", "batch_size", "7 is more than the 6");
  bad("batch_size: -1", "batch_size", "outside");
  good("batch_size: 6 target_batch_size: 4", "virtual_workers: 2");
  bad("batch_size: 5", "batch_size", "cannot be cut", "virtual_workers: 2");
  bad("target_batch_size: 6", "target_batch_size", "cannot be cut", "virtual_workers: 2");
  bad("target_batch_size: 5", "target_batch_size", "5 is odd");
  good("target_batch_size: 6 target_train_size: 6");
  bad("target_batch_size: 8 target_train_size: 6", "target_batch_size", "8 is more than the 6");
  bad("source_train_size: -1", "source_train_size", "outside");
  bad("target_train_size: -1", "target_train_size", "outside");
  good("max_sequence_length: 3 evaluation_max_sequence_length: 3");
  bad("max_sequence_length: 2", "max_sequence_length", "outside");
  bad("evaluation_max_sequence_length: 2", "evaluation_max_sequence_length", "outside");
  bad("evaluation_max_sequence_length: 65537", "evaluation_max_sequence_length", "outside");
  bad("evaluation_examples: -1", "evaluation_examples", "outside");
  bad("evaluation_batch_size: -1", "evaluation_batch_size", "outside");
}

TEST(MetaXlSpecTest, Folders) {
  for (const char* field : {"data_dir", "encoder_dir"}) {
    for (const std::string path : {"/there", "relative", ""}) {
      v1::JobSpec spec = Job(kLanguages);
      v1::MetaXl* metaxl = spec.mutable_problem()->mutable_metaxl();
      *(field[0] == 'd' ? metaxl->mutable_data_dir() : metaxl->mutable_encoder_dir()) = path;
      const std::vector<FieldViolation> violations = Resolve(&spec);
      ASSERT_EQ(violations.size(), path == "/there" ? 0u : 1u) << field << path;
      if (violations.empty()) continue;
      EXPECT_EQ(violations[0].field, absl::StrCat("problem.metaxl.", field));
      EXPECT_THAT(violations[0].description,
                  HasSubstr(path.empty() ? "is missing" : "is relative"));
    }
  }
}

TEST(MetaXlSpecTest, BaselinesLearnNoHyperparameters) {
  for (const char* training : {"TARGET_ONLY", "JOINT"}) {
    const std::string fields = absl::StrCat(kLanguages, "training: ", training);
    ExpectGood(fields, "estimator { kind: NONE }");
    ExpectBad(fields, "training", "set estimator.kind to NONE");
    ExpectBad(fields, "training", "set estimator.kind to NONE", "estimator { kind: T1T2 }");
  }
  ExpectGood(kLanguages, "estimator { kind: NONE }");
}

}  // namespace
}  // namespace evograd
