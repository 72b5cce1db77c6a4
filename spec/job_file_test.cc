// Goal: a job file is read as the spec that it means, and each error names its place, its field and
// the way out. Method: tables of texts; a round trip of random specs through the proto JSON mapping
// (seed 1, 300 specs).
#include "spec/job_file.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "spec/error.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

using google::protobuf::FieldDescriptor;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Error(const std::string& text) {
  return std::string(ParseJobFile(text, "job.yaml").status().message());
}

TEST(JobFileTest, ReadsYaml) {
  const auto file = ParseJobFile(R"(
name: my-job
problem:
  rotation:
    data_dir: /data
    angle_degrees: -12.5
steps: 1e3
seed: 18446744073709551615
estimator: {kind: evograd-antithetic, population: 4, commonLayerNoise: true}
data_type: FLOAT64
display_name: "2024"
)",
                                 "job.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->job_id, "my-job");
  const v1::JobSpec& spec = file->spec;
  EXPECT_EQ(spec.problem().rotation().data_dir(), "/data");
  EXPECT_EQ(spec.problem().rotation().angle_degrees(), -12.5);
  EXPECT_EQ(spec.steps(), 1000);
  EXPECT_EQ(spec.seed(), 18446744073709551615u);
  EXPECT_EQ(spec.estimator().kind(), v1::Estimator::EVOGRAD_ANTITHETIC);
  EXPECT_EQ(spec.estimator().population(), 4);
  EXPECT_TRUE(spec.estimator().common_layer_noise());
  EXPECT_EQ(spec.data_type(), v1::FLOAT64);
  EXPECT_EQ(spec.display_name(), "2024");
  EXPECT_FALSE(spec.estimator().has_sigma());
}

TEST(JobFileTest, AnExplicitZeroIsNotAbsence) {
  const auto file = ParseJobFile("estimator: {population: 0}\n", "job.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->spec.estimator().has_population());
}

// Good value, wrong value, what is said about it.
struct Case {
  std::string good;
  std::string wrong;
  std::string says;
};

class ErrorTest : public ::testing::TestWithParam<Case> {};

TEST_P(ErrorTest, WrongIsNamedAndItsTwinIsAccepted) {
  EXPECT_EQ(Error(GetParam().good), "");
  EXPECT_THAT(Error(GetParam().wrong), StartsWith("job.yaml:" + GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Names, ErrorTest,
    ::testing::Values(
        Case{"estimator:\n  population: 2", "estimator:\n  populaton: 2",
             "2:3: estimator.populaton: unknown field; did you mean `population`?"},
        Case{"name: abcd", "nmae: abcd", "1:1: nmae: unknown field; did you mean `name`?"},
        Case{"estimator: {sigma: 1}", "sigma: 1",
             "1:1: sigma: unknown field here; it belongs at `estimator.sigma`"},
        Case{"steps: 1", "estimator: {steps: 1}",
             "1:13: estimator.steps: unknown field here; it belongs at `steps`"},
        Case{"base_optimizer: {momentum: 0.5}", "base_optimizer: {lr: 0.5}",
             "1:18: base_optimizer.lr: unknown field; known here: kind, learning_rate"},
        Case{"baseOptimizer: {}", "base_optimizer: {}\nbaseOptimizer: {}",
             "2:1: base_optimizer: is given twice; first on line 1"},
        Case{"problem: {toy1d: {}}", "problem: {toy1d: {}, rotation: {}}",
             "1:22: problem.rotation: cannot be given beside `toy1d`"},
        Case{"name: abcd", "name: Abcd", "1:7: name: `Abcd` is no job name"}));

INSTANTIATE_TEST_SUITE_P(
    Values, ErrorTest,
    ::testing::Values(
        Case{"steps: 5", "steps: five", "1:8: steps: `five` is text; a whole number is needed"},
        Case{"steps: '5'", "steps: 5.5", "1:8: steps: `5.5` is not a whole number"},
        Case{"steps: -5", "steps: [5]", "1:8: steps: this is a list; a whole number is needed"},
        Case{"steps: 10", "steps: 010", "1:8: steps: `010` begins with a zero"},
        Case{"steps: 16", "steps: 0x10", "1:8: steps: `0x10` is text"},
        Case{"threads: 2147483647", "threads: 2147483648",
             "1:10: threads: `2147483648` is outside -2147483648 to 2147483647"},
        Case{"seed: 0", "seed: -1", "1:7: seed: `-1` is outside 0 to 18446744073709551615"},
        Case{"seed: 1", "seed: 18446744073709551616",
             "1:7: seed: `18446744073709551616` is outside 0"},
        Case{"steps: 9223372036854775807", "steps: 9223372036854775808",
             "1:8: steps: `92233720368547"},
        Case{"estimator: {tau: 5e-2}", "estimator: {tau: small}",
             "1:18: estimator.tau: `small` is text; a number is needed"},
        Case{"estimator: {tau: 1e300}", "estimator: {tau: 1e999}",
             "1:18: estimator.tau: `1e999` is too large"},
        Case{"estimator: {calibrated: true}", "estimator: {calibrated: yes}",
             "1:25: estimator.calibrated: `yes` is text; true or false is needed"},
        Case{"estimator: {calibrated: false}", "estimator: {calibrated: 'false'}",
             "1:25: estimator.calibrated: \"false\" is text; true or false is needed"},
        Case{
            "estimator: {kind: t1t2}", "estimator: {kind: evograd-shard}",
            "1:19: estimator.kind: `evograd-shard` is unknown; one of evograd, evograd-antithetic, "
            "evograd-shared, t1t2, none is needed; did you mean `evograd-shared`?"},
        Case{"estimator: {kind: 4}", "estimator: {kind: 6}",
             "1:19: estimator.kind: `6` is unknown"},
        Case{"display_name: '7'", "display_name: 7",
             "1:15: display_name: `7` is a number, and text is needed; put it in quotes"},
        Case{"display_name: a", "display_name: {a: b}",
             "1:15: display_name: this is a group of fields"},
        Case{"estimator: {}",
             "estimator:", "1:1: estimator: has no value; give one or leave the line out ({}"},
        Case{"estimator: {}", "estimator: 3",
             "1:12: estimator: `3` is a number; a group of fields is needed: kind, population"},
        Case{"steps: 1", "- steps", "1:1: this is a list; a group of fields is needed: problem"},
        Case{"steps: 1", "", "1:1: the file is empty"},
        Case{"steps: 1", "steps: 1: 2", "1:9: not well-formed YAML or JSON"}));

TEST(JobFileTest, AllErrorsAreNamed) {
  const absl::Status status =
      ParseJobFile("steps: x\nestimator:\n  tau: y\n  kind: z\n", "job.yaml").status();
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(status))
    fields.push_back(violation.field);
  EXPECT_THAT(fields, ::testing::ElementsAre("steps", "estimator.tau", "estimator.kind"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("\njob.yaml:3:8: estimator.tau: `y`"));
}

TEST(JobFileTest, LocatesFieldsOfOthersErrors) {
  const auto file = ParseJobFile("name: abcd\nestimator:\n  tau: 1\n", "job.yaml");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->Locate("estimator.tau"), "job.yaml:3:3");
  EXPECT_EQ(file->Locate("spec.estimator.tau"), "job.yaml:3:3");
  EXPECT_EQ(file->Locate("estimator.sigma"), "job.yaml:2:1");
  EXPECT_EQ(file->Locate("job_id"), "job.yaml:1:1");
  EXPECT_EQ(file->Locate("steps"), "job.yaml");

  const absl::Status status =
      file->Locate(InvalidFields({{"estimator.tau", "is bad"}, {"steps", "is missing"}}));
  EXPECT_EQ(status.message(), "job.yaml:3:3: estimator.tau: is bad\njob.yaml: steps: is missing");
  EXPECT_EQ(GetFieldViolations(status).size(), 2);
  EXPECT_EQ(file->Locate(absl::InternalError("x")), absl::InternalError("x"));
}

TEST(JobFileTest, ReadsLists) {
  const auto file = ParseJobFile(R"(
problem:
  metaxl:
    source_languages: [en, "no", zh_CN]
    labels:
      - O
      - B-PER
    reported_types: []
base_optimizer: {schedule: {decay_steps: [10, 1e3]}}
)",
                                 "job.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  const v1::MetaXl& metaxl = file->spec.problem().metaxl();
  EXPECT_THAT(metaxl.source_languages(), testing::ElementsAre("en", "no", "zh_CN"));
  EXPECT_THAT(metaxl.labels(), testing::ElementsAre("O", "B-PER"));
  EXPECT_TRUE(metaxl.reported_types().empty());
  EXPECT_THAT(file->spec.base_optimizer().schedule().decay_steps(), testing::ElementsAre(10, 1000));
  EXPECT_THAT(Error("problem: {metaxl: {labels: O}}"),
              HasSubstr("1:28: problem.metaxl.labels: `O` is text; a list is needed, such as"));
  EXPECT_THAT(Error("problem: {metaxl: {labels: [O, 7]}}"),
              HasSubstr("1:32: problem.metaxl.labels: `7` is a number, and text is needed"));
  EXPECT_THAT(Error("problem: {metaxl: {labels: [[O]]}}"),
              HasSubstr("1:29: problem.metaxl.labels: this is a list; text is needed"));
  EXPECT_THAT(Error("problem: {metaxl: {target_language: [en]}}"),
              HasSubstr("this is a list; text is needed"));
}

// Every type that SetField knows; a field of another type would abort it.
void CheckTypes(const google::protobuf::Descriptor& type, std::set<std::string>* seen) {
  if (!seen->insert(type.full_name()).second) return;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    EXPECT_FALSE(field.is_repeated() && field.message_type() != nullptr) << field.full_name();
    EXPECT_NE(field.type(), FieldDescriptor::TYPE_BYTES) << field.full_name();
    EXPECT_NE(field.cpp_type(), FieldDescriptor::CPPTYPE_FLOAT) << field.full_name();
    EXPECT_NE(field.cpp_type(), FieldDescriptor::CPPTYPE_UINT32) << field.full_name();
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
      CheckTypes(*field.message_type(), seen);
  }
}

TEST(JobFileTest, EveryFieldOfAJobSpecCanBeRead) {
  std::set<std::string> seen;
  CheckTypes(*v1::JobSpec::descriptor(), &seen);
  EXPECT_GE(seen.size(), 6);
}

// Sets about half of the fields to values that people and machines write. Lists are texts' and
// whole numbers'.
void Randomise(std::mt19937_64* random, google::protobuf::Message* message) {
  const auto* reflection = message->GetReflection();
  const auto pick = [&](auto... values) {
    const std::common_type_t<decltype(values)...> all[] = {values...};
    return all[(*random)() % sizeof...(values)];
  };
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    if ((*random)() % 2 == 0) continue;
    if (field->is_repeated()) {
      for (size_t n = (*random)() % 3; n > 0; --n) {
        if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
          reflection->AddString(message, field, pick("", "a", "7", "true", "ä\n"));
        } else {
          ASSERT_EQ(field->cpp_type(), FieldDescriptor::CPPTYPE_INT64) << field->full_name();
          reflection->AddInt64(message, field, pick(int64_t{0}, int64_t{7}, INT64_MIN));
        }
      }
      continue;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        reflection->SetInt32(message, field, pick(0, 1, -1, 128, INT32_MAX, INT32_MIN));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        reflection->SetInt64(message, field, pick(int64_t{0}, int64_t{7}, INT64_MAX, INT64_MIN));
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        reflection->SetUInt64(message, field, pick(uint64_t{0}, uint64_t{7}, UINT64_MAX));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        reflection->SetDouble(message, field,
                              pick(0.0, 0.1, -1e-300, 1.7976931348623157e308, 1.0 / 3, -HUGE_VAL));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection->SetBool(message, field, true);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        reflection->SetString(
            message, field, pick("", "a", "7", "true", "null", "a\nb \"q\" ä \\ :#", "~", "<>&'"));
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        reflection->SetEnumValue(message, field, (*random)() % field->enum_type()->value_count());
        break;
      default:
        Randomise(random, reflection->MutableMessage(message, field));
    }
  }
}

TEST(JobFileTest, ReadsWhatTheProtoJsonMappingPrints) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    v1::JobSpec spec;
    Randomise(&random, &spec);
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = random() % 2 == 0;
    options.preserve_proto_field_names = random() % 2 == 0;
    options.always_print_enums_as_ints = random() % 2 == 0;
    std::string json;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(spec, &json, options).ok());
    const auto file = ParseJobFile(json, "job.json");
    ASSERT_TRUE(file.ok()) << file.status() << "\n" << json;
    EXPECT_EQ(file->spec.SerializeAsString(), spec.SerializeAsString()) << json;
  }
}

}  // namespace
}  // namespace evograd
