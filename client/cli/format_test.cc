// Goal: people read what is meant, and programs read it back. Method: tables; a round trip of YAML
// through the reader of job files.
#include "client/cli/format.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "proto/evograd/v1/job_service.pb.h"
#include "spec/job_file.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

TEST(FormatTest, Numbers) {
  EXPECT_EQ(FormatNumber(0.693147), "0.6931");
  EXPECT_EQ(FormatNumber(-12.3456), "-12.35");
  EXPECT_EQ(FormatNumber(1.25e-9), "1.25e-09");
  EXPECT_EQ(FormatSeconds(0.01234), "0.0123 s");
  EXPECT_EQ(FormatSeconds(12.34), "12.3 s");
  EXPECT_EQ(FormatSeconds(200), "3 min 20 s");
  EXPECT_EQ(FormatSeconds(7500), "2 h 5 min");
  EXPECT_EQ(FormatSeconds(-1), "-");
  EXPECT_EQ(FormatClock(45.2), "0:45");
  EXPECT_EQ(FormatClock(3723), "1:02:03");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(12'345'678), "12.3 MB");
  EXPECT_EQ(FormatBytes(3'000'000'000'000), "3e+03 GB");
  EXPECT_EQ(FormatAge(absl::Seconds(59)), "59s");
  EXPECT_EQ(FormatAge(absl::Minutes(59)), "59m");
  EXPECT_EQ(FormatAge(absl::Hours(47)), "47h");
  EXPECT_EQ(FormatAge(absl::Hours(50)), "2d");
}

TEST(FormatTest, Tables) {
  EXPECT_EQ(FormatTable({{"A", "B"}, {"äöü", "x"}, {"", "yy"}}), "A    B\näöü  x\n     yy\n");
  EXPECT_EQ(FormatPairs({{"name", "x"}, {"reason", ""}, {"a long one", "y"}}),
            "name        x\na long one  y\n");
}

TEST(FormatTest, FurtherLinesOfACellPassForNoRow) {
  EXPECT_EQ(FormatTable({{"A", "B"}, {"x\ny", "one\ntwo"}}), "A  B\nx\n  y  one\n   two\n");
  EXPECT_EQ(FormatPairs({{"error", "it failed\nstate  SUCCEEDED"}, {"time", "1 s"}}),
            "error  it failed\n       state  SUCCEEDED\ntime   1 s\n");
}

TEST(FormatTest, JsonHasDefaultsAndCamelCase) {
  v1::ListJobsResponse response;
  EXPECT_NE(ToJson(response).find("\"jobs\": []"), std::string::npos);
  response.add_jobs()->set_parameters_sha256("ab");
  const std::string line = ToJson(response, true);
  EXPECT_NE(line.find("\"parametersSha256\":\"ab\""), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(FormatTest, WhatHasNoJsonFormSaysSo) {
  v1::Job job;
  job.mutable_create_time()->set_seconds(-100'000'000'000);
  EXPECT_EQ(ToJson(job).find("{\"error\": \"the answer has no JSON form: "), 0) << ToJson(job);
  job.mutable_create_time()->set_seconds(0);
  EXPECT_EQ(ToJson(job).find("error\": \"the answer"), std::string::npos);
}

TEST(FormatTest, YamlIsAJobFile) {
  for (const char* problem :
       {R"(rotation { data_dir: "/Anna's \\'a\" \303\244" angle_degrees: 0.1 })",
        R"(metaxl { data_dir: "/a" labels: "O" labels: "B-\303\244" task: CLASSIFICATION })"}) {
    v1::JobSpec spec;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
        absl::StrCat("problem { ", problem, R"( } steps: 7
         seed: 18446744073709551615 display_name: "7"
         estimator { kind: EVOGRAD_ANTITHETIC sigma: 0.3333333333333333 }
         base_optimizer { schedule { decay_steps: 10 decay_steps: 20 } })"),
        &spec));
    Resolve(&spec);
    const std::string yaml = ToYaml(spec, 0);
    const auto file = ParseJobFile(yaml, "described.yaml");
    ASSERT_TRUE(file.ok()) << file.status() << "\n" << yaml;
    EXPECT_EQ(file->spec.SerializeAsString(), spec.SerializeAsString()) << yaml;
  }
}

}  // namespace
}  // namespace evograd
