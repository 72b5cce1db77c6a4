// Goal: the defaults of lft and pretrain are those that lft.proto states, and every wrong field is
// named with its value. Method: a table of edits to one good spec; each wrong value has a twin just
// inside the bound, or differing in that one thing, that is accepted.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "spec/resolve.h"
#include "spec/testing/field_case.h"

namespace evograd {
namespace {

using ::testing::IsEmpty;

// A spec with `problem` in its problem and `rest` beside it.
std::string Lft(const std::string& problem, const std::string& rest = "") {
  return absl::StrCat("steps: 5 problem { lft { ", problem, " } } ", rest);
}
std::string Pretrain(const std::string& problem,
                     const std::string& rest = "estimator { kind: NONE }") {
  return absl::StrCat("steps: 5 problem { pretrain { ", problem, " } } ", rest);
}

constexpr char kDir[] = "data_dir: '/d' ";
constexpr char kSeen[] = "seen_domains: ['a', 'b'] ";
constexpr char kTest[] = "test_domains: 'c' ";
const std::string& Good() {
  static const std::string& good = *new std::string(absl::StrCat(kDir, kSeen, kTest));
  return good;
}

TEST(LftSpecTest, DefaultsOfLft) {
  v1::JobSpec spec = ParseSpec(Lft(Good()));
  ASSERT_THAT(Resolve(&spec), IsEmpty());
  const v1::Lft expected =
      ParseSpec(
          Lft(Good() +
              "auxiliary_domain: 'a' backbone: RESNET10 image_extent: 224 transformation: LEARNED "
              "initial_gamma: 0.3 initial_beta: 0.5 way: 5 shot: 5 query: 16 episodes_per_step: 1 "
              "steps_per_epoch: 100 auxiliary_batch_size: 16 auxiliary_weight: 1 "
              "evaluation_episodes: 1000 evaluation_query: 15 validation_episodes: 100 "
              "loader_threads: 2"))
          .problem()
          .lft();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(spec.problem().lft(), expected))
      << spec.problem().lft().DebugString();
}

TEST(LftSpecTest, DefaultsOfPretrain) {
  v1::JobSpec spec = ParseSpec(Pretrain("data_dir: '/d' domains: 'a'"));
  ASSERT_THAT(Resolve(&spec), IsEmpty());
  const v1::Pretrain expected =
      ParseSpec(Pretrain("data_dir: '/d' domains: 'a' backbone: RESNET10 image_extent: 224 "
                         "batch_size: 16 held_out_share: 0.1 loader_threads: 2"))
          .problem()
          .pretrain();
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(spec.problem().pretrain(), expected))
      << spec.problem().pretrain().DebugString();
}

TEST(LftSpecTest, TheExtentFollowsTheBackbone) {
  for (const auto& [backbone, extent] :
       std::vector<std::pair<std::string, int>>{{"CONV4", 84}, {"CONV6", 84}, {"RESNET34", 224}}) {
    v1::JobSpec spec = ParseSpec(Lft(absl::StrCat(Good(), "backbone: ", backbone)));
    EXPECT_THAT(Resolve(&spec), IsEmpty());
    EXPECT_EQ(spec.problem().lft().image_extent(), extent) << backbone;
  }
}

class LftFieldTest : public ::testing::TestWithParam<FieldCase> {};

TEST_P(LftFieldTest, WrongIsNamedAndItsTwinIsAccepted) {
  ExpectWrongIsNamedAndItsTwinIsAccepted(GetParam());
}

// `good` and `wrong` beside the fields that are always needed.
FieldCase More(const std::string& good, const std::string& wrong, const std::string& field,
               const std::string& says) {
  return {Lft(Good() + good), Lft(Good() + wrong), "problem.lft." + field, says};
}
FieldCase Sharded(const std::string& good, const std::string& wrong, const std::string& field) {
  const std::string rest = "virtual_workers: 4";
  return {Lft(Good() + good, rest), Lft(Good() + wrong, rest), "problem.lft." + field,
          "4 equal shards"};
}

INSTANTIATE_TEST_SUITE_P(
    Domains, LftFieldTest,
    ::testing::Values(
        FieldCase{Lft(Good()), Lft(absl::StrCat(kSeen, kTest)), "problem.lft.data_dir", "missing"},
        FieldCase{Lft(Good()), Lft(absl::StrCat("data_dir: 'd' ", kSeen, kTest)),
                  "problem.lft.data_dir", "relative"},
        FieldCase{Lft(Good()), Lft(absl::StrCat(kDir, kTest)), "problem.lft.seen_domains",
                  "missing"},
        FieldCase{Lft(Good()), Lft(absl::StrCat(kDir, kSeen)), "problem.lft.test_domains",
                  "missing"},
        FieldCase{Lft(Good()), Lft(absl::StrCat(kDir, kTest, "seen_domains: 'a'")),
                  "problem.lft.seen_domains", "at least two"},
        FieldCase{
            Lft(absl::StrCat(kDir, kTest, "seen_domains: 'a' transformation: FIXED"),
                "estimator { kind: NONE }"),
            Lft(absl::StrCat(kDir, kTest, "transformation: FIXED"), "estimator { kind: NONE }"),
            "problem.lft.seen_domains", "missing"},
        FieldCase{Lft(Good()), Lft(absl::StrCat(kDir, kTest, "seen_domains: ['a', 'b', 'A']")),
                  "problem.lft.seen_domains[2]", "twice"},
        FieldCase{Lft(absl::StrCat(kDir, kTest, "seen_domains: ['a_b', 'a_c']")),
                  Lft(absl::StrCat(kDir, kTest, "seen_domains: ['a_b', 'a-b']")),
                  "problem.lft.seen_domains[1]", "twice"},
        FieldCase{Lft(Good()), Lft(absl::StrCat(kDir, kSeen, "test_domains: 'c/d'")),
                  "problem.lft.test_domains[0]", "c/d"},
        FieldCase{Lft(Good()), Lft(absl::StrCat(kDir, kSeen, "test_domains: '..'")),
                  "problem.lft.test_domains[0]", "`..`"},
        More("auxiliary_domain: 'mini-ImageNet'", "auxiliary_domain: '/mini'", "auxiliary_domain",
             "/mini"),
        More("pretrained: '/p.safetensors'", "pretrained: 'p.safetensors'", "pretrained",
             "relative")));

INSTANTIATE_TEST_SUITE_P(
    Transformation, LftFieldTest,
    ::testing::Values(FieldCase{Lft(Good() + "transformation: FIXED", "estimator { kind: NONE }"),
                                Lft(Good() + "transformation: FIXED"), "estimator.kind", "FIXED"},
                      FieldCase{Lft(Good() + "transformation: NONE", "estimator { kind: NONE }"),
                                Lft(Good() + "transformation: NONE", "estimator { kind: T1T2 }"),
                                "estimator.kind", "T1T2"},
                      FieldCase{Lft(Good() + "transformation: LEARNED", "estimator { kind: T1T2 }"),
                                Lft(Good() + "transformation: LEARNED", "estimator { kind: NONE }"),
                                "problem.lft.transformation", "FIXED"},
                      More("initial_gamma: 0", "initial_gamma: nan", "initial_gamma", "nan"),
                      More("initial_beta: -1", "initial_beta: inf", "initial_beta", "inf")));

INSTANTIATE_TEST_SUITE_P(
    Sizes, LftFieldTest,
    ::testing::Values(
        More("backbone: CONV4 image_extent: 20", "backbone: CONV4 image_extent: 19", "image_extent",
             "CONV4"),
        More("backbone: RESNET18 image_extent: 32", "backbone: RESNET18 image_extent: 31",
             "image_extent", "RESNET18"),
        More("image_extent: 512", "image_extent: 513", "image_extent", "513"),
        More("way: 2", "way: 1", "way", "1 is outside 2"),
        More("way: 200", "way: 201", "way", "201"), More("shot: 1", "shot: -1", "shot", "-1"),
        More("query: 1", "query: -1", "query", "-1"),
        More("query: 1000", "query: 1001", "query", "1001"),
        More("episodes_per_step: 1024", "episodes_per_step: 1025", "episodes_per_step", "1025"),
        More("episodes_per_step: 1", "episodes_per_step: -1", "episodes_per_step", "-1"),
        Sharded("episodes_per_step: 4", "episodes_per_step: 2", "episodes_per_step"),
        Sharded("episodes_per_step: 4 auxiliary_batch_size: 8",
                "episodes_per_step: 4 auxiliary_batch_size: 6", "auxiliary_batch_size"),
        More("steps_per_epoch: 1", "steps_per_epoch: -1", "steps_per_epoch", "-1"),
        More("auxiliary_weight: 0", "auxiliary_weight: -0.5", "auxiliary_weight", "-0.5"),
        More("evaluation_episodes: 1", "evaluation_episodes: -1", "evaluation_episodes", "-1"),
        More("evaluation_query: 1", "evaluation_query: -1", "evaluation_query", "-1"),
        More("validation_episodes: 1", "validation_episodes: -1", "validation_episodes", "-1"),
        More("loader_threads: 64", "loader_threads: 65", "loader_threads", "65"),
        More("image_cache_mib: 0", "image_cache_mib: -1", "image_cache_mib", "-1")));

INSTANTIATE_TEST_SUITE_P(
    Pretrain, LftFieldTest,
    ::testing::Values(
        FieldCase{Pretrain("data_dir: '/d' domains: 'a'"),
                  Pretrain("data_dir: '/d' domains: 'a'", ""), "estimator.kind", "NONE"},
        FieldCase{Pretrain("data_dir: '/d' domains: 'a'"), Pretrain("data_dir: '/d'"),
                  "problem.pretrain.domains", "missing"},
        FieldCase{Pretrain("data_dir: '/d' domains: 'a'"), Pretrain("domains: 'a'"),
                  "problem.pretrain.data_dir", "missing"},
        FieldCase{Pretrain("data_dir: '/d' domains: 'a' held_out_share: 0"),
                  Pretrain("data_dir: '/d' domains: 'a' held_out_share: 1"),
                  "problem.pretrain.held_out_share", "less than 1"},
        FieldCase{Pretrain("data_dir: '/d' domains: 'a' batch_size: 1"),
                  Pretrain("data_dir: '/d' domains: 'a' batch_size: -1"),
                  "problem.pretrain.batch_size", "-1"},
        FieldCase{Pretrain("data_dir: '/d' domains: 'a' backbone: CONV6 image_extent: 32"),
                  Pretrain("data_dir: '/d' domains: 'a' backbone: CONV6 image_extent: 16"),
                  "problem.pretrain.image_extent", "CONV6"}));

}  // namespace
}  // namespace evograd
