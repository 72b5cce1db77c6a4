// Goal: no text makes the reader of job files fail, hang or answer anything but a spec that can be
// written and read again, or an error with its place. Method: 20,000 texts, each a good job with
// one to three random edits (seed 7; digits changed, bytes and pieces of YAML and JSON put in, cut
// out, doubled).
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/match.h"
#include "spec/job_file.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

constexpr char kYaml[] = R"(# a job
name: my-job
problem:
  rotation: {data_dir: "/data", angle_degrees: 30, batch_size: 64}
steps: 500
seed: 18446744073709551615
estimator:
  kind: evograd-shared
  population: 4
  sigma: 1e-3
  commonLayerNoise: true
meta_optimizer: {kind: sgd, momentum: 0.9, nesterov: true}
data_type: FLOAT64
)";
constexpr char kJson[] =
    R"({"name": "my-job", "problem": {"toy1d": {"initialX": -1.5}}, "steps": "10",
  "estimator": {"tau": "Infinity", "noise": "NORMAL"}, "displayName": "a \"b\" \u00e4"})";

class Editor {
 public:
  std::string Next() {
    std::string text = Number(2) == 0 ? kYaml : kJson;
    for (size_t edits = 1 + Number(3); edits > 0; --edits) Edit(&text);
    return text;
  }

 private:
  size_t Number(size_t limit) { return random_() % limit; }

  void Edit(std::string* text) {
    static const char* const kPieces[] = {"\n",       ":",
                                          ": ",       "- ",
                                          "{",        "}",
                                          "[",        "]",
                                          ",",        "\"",
                                          "'",        "&a ",
                                          "*a",       "!!str",
                                          "---",      "...",
                                          "#",        "\t",
                                          "  ",       "|",
                                          "null",     "true",
                                          "~",        "1e999",
                                          "-0",       "0x1",
                                          "steps: 1", "<<: ",
                                          "? ",       "%YAML",
                                          "\xff",     "\xc3\xa4",
                                          "\\u0000",  "99999999999999999999",
                                          ".nan",     "toy1d: {}"};
    const size_t at = Number(text->size() + 1);
    switch (Number(8)) {
      case 0:
        text->insert(at, kPieces[Number(std::size(kPieces))]);
        break;
      case 1:
        text->erase(at, 1 + Number(20));
        break;
      case 2:
        text->insert(at, text->substr(Number(text->size() + 1), Number(40)));
        break;
      case 3:
        text->insert(at, 1, static_cast<char>(Number(256)));
        break;
      default: {  // gentler: most of these are jobs still
        const size_t digit = text->find_first_of("0123456789", at);
        if (digit != std::string::npos) (*text)[digit] = "0123456789-.e"[Number(13)];
      }
    }
  }

  std::mt19937_64 random_{7};
};

TEST(JobFileFuzzTest, AcceptedTextsRoundTripAndRejectedOnesNameTheirPlace) {
  Editor editor;
  int accepted = 0, resolved = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = editor.Next();
    const auto file = ParseJobFile(text, "job.yaml");
    if (!file.ok()) {
      ASSERT_TRUE(absl::StartsWith(file.status().message(), "job.yaml:")) << file.status() << "\n"
                                                                          << text;
      continue;
    }
    ++accepted;
    std::string json;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(file->spec, &json).ok()) << text;
    const auto again = ParseJobFile(json, "job.json");
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << json;
    ASSERT_EQ(again->spec.SerializeAsString(), file->spec.SerializeAsString()) << text;

    v1::JobSpec once = file->spec;
    if (!Resolve(&once).empty()) continue;
    ++resolved;
    v1::JobSpec twice = once;
    ASSERT_TRUE(Resolve(&twice).empty()) << text;
    ASSERT_EQ(twice.SerializeAsString(), once.SerializeAsString()) << text;
  }
  // The edits reach all three outcomes.
  EXPECT_GT(accepted, 1000);
  EXPECT_LT(accepted, 19'000);
  EXPECT_GT(resolved, 500);
}

}  // namespace
}  // namespace evograd
