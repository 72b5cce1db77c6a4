// Goal: a text becomes the tree that it shows, with positions, and what a job file has no use for
// is refused where it stands. Method: small texts; each refused one has an accepted twin.
#include "spec/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = YamlNode::Kind;

YamlNode Tree(const std::string& text) {
  absl::StatusOr<YamlNode> root = ParseYaml(text);
  EXPECT_TRUE(root.ok()) << root.status();
  return root.ok() ? *root : YamlNode();
}

TEST(YamlTreeTest, BlocksAndPositions) {
  const YamlNode root = Tree("# a comment\na: 1\nb:\n  c: 'x y'\n  d: [1, {e: 2}]\nf:\n");
  ASSERT_EQ(root.kind, Kind::kMap);
  ASSERT_EQ(root.keys.size(), 3);
  EXPECT_EQ(root.children[0].text, "1");
  EXPECT_FALSE(root.children[0].quoted);
  const YamlNode& b = root.children[1];
  ASSERT_EQ(b.kind, Kind::kMap);
  EXPECT_EQ(b.children[0].text, "x y");
  EXPECT_TRUE(b.children[0].quoted);
  EXPECT_EQ(ToString(b.keys[0].position), "4:3");
  EXPECT_EQ(ToString(b.children[0].position), "4:6");
  ASSERT_EQ(b.children[1].kind, Kind::kSequence);
  EXPECT_EQ(b.children[1].children[1].children[0].text, "2");
  EXPECT_EQ(root.children[2].kind, Kind::kNull);
}

TEST(YamlTreeTest, JsonIsYaml) {
  const YamlNode root = Tree("{\"a\": \"1\",\n \"b\": {\"c\": true}}");
  EXPECT_TRUE(root.children[0].quoted);
  EXPECT_EQ(root.children[1].children[0].text, "true");
  EXPECT_EQ(ToString(root.keys[1].position), "2:2");
}

TEST(YamlTreeTest, NothingIsNull) {
  EXPECT_EQ(Tree("").kind, Kind::kNull);
  EXPECT_EQ(Tree("# only a comment\n").kind, Kind::kNull);
}

struct Case {
  std::string good;
  std::string wrong;
  std::string says;
};

class RefusalTest : public ::testing::TestWithParam<Case> {};

TEST_P(RefusalTest, WrongIsRefusedAndItsTwinIsAccepted) {
  Tree(GetParam().good);
  const absl::StatusOr<YamlNode> root = ParseYaml(GetParam().wrong);
  ASSERT_FALSE(root.ok());
  EXPECT_EQ(root.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(root.status().message()), StartsWith(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Yaml, RefusalTest,
    ::testing::Values(
        Case{"a: 3\nb: 3", "a: &x 3\nb: 3", "1:4: anchors"},
        Case{"a: 3\nb: 3", "a: &x 3\nb: *x", "1:4: anchors"},
        Case{"a: '5'", "a: !!str 5", "1:4: the tag"}, Case{"a: {}", "a: !foo {}", "1:4: the tag"},
        Case{"a: 1\nb: 2", "a: 1\n---\nb: 2", "1:1: the file has several documents"},
        Case{"a: 1\nb: 2", "a: 1\n\na: 2", "3:1: `a` is given twice; first on line 1"},
        Case{"? a\n: b", "? [a]\n: b", "1:3: a key must be a plain name"},
        Case{"a: b", "~: b", "1:1: a key must be a plain name"},
        Case{"a: {b: 1}", "a: {b: 1", "1:"}, Case{"a: b", "a: b: c", "1:5: not well-formed"},
        Case{"a:\n  b: c", "a:\n\tb: c", "2:"},
        Case{"a: \xc3\xa4", "a: \xc3", "1:4: the file is not UTF-8"},
        Case{"a: \xf0\x9f\x98\x80", "a: \xff\xfe", "1:4: the file is not UTF-8"},
        Case{"a: b", std::string("a: \0", 4), "1:4: the file has a control"}));

TEST(YamlTreeTest, DepthIsBounded) {
  const auto nested = [](int depth) {
    return absl::StrCat(std::string(depth, '['), "1", std::string(depth, ']'));
  };
  Tree(nested(limits::kMaxJobFileDepth));
  EXPECT_THAT(std::string(ParseYaml(nested(limits::kMaxJobFileDepth + 1)).status().message()),
              HasSubstr("nested deeper"));
  // Far deeper than the parser's own bound and the stack.
  EXPECT_FALSE(ParseYaml(nested(100'000)).ok());
}

TEST(YamlTreeTest, SizeIsBounded) {
  const auto list = [](int values) {
    std::string text = "[";
    for (int i = 0; i < values; ++i) text += "1,";
    return text + "]";
  };
  Tree(list(limits::kMaxJobFileNodes - 1));  // and the list itself
  EXPECT_THAT(std::string(ParseYaml(list(limits::kMaxJobFileNodes)).status().message()),
              HasSubstr("more than 10000 values"));

  const std::string comment = "a: 1 #";
  Tree(comment + std::string(limits::kMaxJobFileBytes - comment.size(), 'x'));
  EXPECT_THAT(
      std::string(
          ParseYaml(comment + std::string(limits::kMaxJobFileBytes, 'x')).status().message()),
      HasSubstr("bytes"));
}

}  // namespace
}  // namespace evograd
