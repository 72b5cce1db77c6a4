#include "spec/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

TextPosition ToPosition(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

absl::Status ErrorAt(TextPosition position, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(ToString(position), ": ", what));
}

// Builds the tree from the parser's events. After the first error it ignores the rest of the text,
// whose size is bounded.
class TreeBuilder : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (Accept(mark, "?", anchor)) Add(Make(YamlNode::Kind::kNull, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Fail(ToPosition(mark), "aliases (*) are not allowed in a job file; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (!Accept(mark, tag, anchor)) return;
    YamlNode node = Make(YamlNode::Kind::kScalar, mark);
    node.text = value;
    node.quoted = tag == "!";
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    if (Accept(mark, tag, anchor)) Open(Make(YamlNode::Kind::kSequence, mark));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    if (Accept(mark, tag, anchor)) Open(Make(YamlNode::Kind::kMap, mark));
  }
  void OnMapEnd() override { Close(); }

  absl::StatusOr<YamlNode> Take() {
    if (!status_.ok()) return status_;
    return std::move(root_);
  }
  const absl::Status& status() const { return status_; }

 private:
  void Fail(TextPosition position, const std::string& what) {
    if (status_.ok()) status_ = ErrorAt(position, what);
  }

  static YamlNode Make(YamlNode::Kind kind, const YAML::Mark& mark) {
    YamlNode node;
    node.kind = kind;
    node.position = ToPosition(mark);
    return node;
  }

  // "?" is no tag, "!" that of quoted text.
  bool Accept(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    const TextPosition position = ToPosition(mark);
    if (anchor != 0) {
      Fail(position, "anchors (&) are not allowed in a job file; leave it out");
    } else if (tag != "?" && tag != "!" && !tag.empty()) {
      Fail(position,
           absl::StrCat("the tag `", tag, "` is not allowed in a job file; leave it out"));
    } else if (++nodes_ > limits::kMaxJobFileNodes) {
      Fail(position,
           absl::StrCat("more than ", limits::kMaxJobFileNodes, " values; this is no job file"));
    }
    return status_.ok();
  }

  // The unfinished map or sequence that comes next takes a key where its keys and children are even
  // in number.
  bool AtKey() const {
    return !open_.empty() && open_.back().kind == YamlNode::Kind::kMap &&
           open_.back().keys.size() == open_.back().children.size();
  }

  void Open(YamlNode node) {
    if (AtKey()) return Fail(node.position, "a key must be a plain name");
    if (open_.size() >= limits::kMaxJobFileDepth) {
      return Fail(node.position, absl::StrCat("nested deeper than ", limits::kMaxJobFileDepth,
                                              " levels; this is no job file"));
    }
    open_.push_back(std::move(node));
  }

  void Close() {
    if (!status_.ok()) return;
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (AtKey()) {
      AddKey(std::move(node));
    } else {
      open_.back().children.push_back(std::move(node));
    }
  }

  void AddKey(YamlNode key) {
    // `null` and `~` are read as no value; as a key they are not wanted either.
    if (key.kind != YamlNode::Kind::kScalar)
      return Fail(key.position, "a key must be a plain name");
    for (const YamlNode& other : open_.back().keys) {
      if (other.text == key.text) {
        return Fail(key.position, absl::StrCat("`", key.text, "` is given twice; first on line ",
                                               other.position.line));
      }
    }
    open_.back().keys.push_back(std::move(key));
  }

  absl::Status status_;
  std::vector<YamlNode> open_;
  YamlNode root_;
  int nodes_ = 0;
};

// The position of the first byte that is no UTF-8, if any: yaml-cpp would replace it in silence.
// Control characters other than white space are refused with it.
absl::Status CheckText(absl::string_view text) {
  TextPosition position;
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = text[i];
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xc2 && lead < 0xe0 ? 2
                          : lead >= 0xe0 && lead < 0xf0 ? 3
                          : lead >= 0xf0 && lead < 0xf5 ? 4
                                                        : 0;
    bool good = length > 0 && i + length <= text.size();
    for (size_t j = 1; good && j < length; ++j) good = (text[i + j] & 0xc0) == 0x80;
    if (!good) return ErrorAt(position, "the file is not UTF-8 text");
    if (lead < 0x20 && lead != '\n' && lead != '\r' && lead != '\t') {
      return ErrorAt(position, "the file has a control character in it; it is not text");
    }
    i += length;
    if (lead == '\n') {
      position = {position.line + 1, 1};
    } else {
      ++position.column;
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string ToString(TextPosition position) {
  return absl::StrCat(position.line, ":", position.column);
}

absl::StatusOr<YamlNode> ParseYaml(absl::string_view text) {
  if (text.size() > limits::kMaxJobFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat("1:1: the file has ", text.size(),
                                                   " bytes; a job file has at most ",
                                                   limits::kMaxJobFileBytes));
  }
  const absl::Status is_text = CheckText(text);
  if (!is_text.ok()) return is_text;
  std::istringstream stream{std::string(text)};
  TreeBuilder builder;
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    TreeBuilder rest;
    if (builder.status().ok() && parser.HandleNextDocument(rest)) {
      return absl::InvalidArgumentError(
          "1:1: the file has several documents (---); a job file has one");
    }
  } catch (const YAML::Exception& error) {  // yaml-cpp's only way to say it
    if (builder.status().ok()) {
      return ErrorAt(ToPosition(error.mark),
                     absl::StrCat("not well-formed YAML or JSON: ", error.msg));
    }
  }
  return builder.Take();
}

}  // namespace evograd
