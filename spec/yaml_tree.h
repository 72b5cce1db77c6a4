// A YAML (so also JSON) text as a tree of plain values with their positions; what a job file has no
// use for is refused: anchors, aliases, tags, several documents, keys that are not scalars, keys
// given twice.
//
//   EVOGRAD_ASSIGN_OR_RETURN(YamlNode root, ParseYaml(text));  // INVALID_ARGUMENT: "3:7: what is
//   wrong"
//
// Pure functions. Bounds: common/limits.h.
#ifndef EVOGRAD_SPEC_YAML_TREE_H_
#define EVOGRAD_SPEC_YAML_TREE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

// Counted from 1.
struct TextPosition {
  int line = 1;
  int column = 1;
};

// "3:7"
std::string ToString(TextPosition position);

struct YamlNode {
  enum class Kind { kNull, kScalar, kMap, kSequence };
  Kind kind = Kind::kNull;
  TextPosition position;
  // Of a scalar; `quoted` ones are text whatever they look like.
  std::string text;
  bool quoted = false;
  // Of a map: entry i is keys[i] (scalars, all different) and children[i]. Of a sequence: its
  // elements.
  std::vector<YamlNode> keys;
  std::vector<YamlNode> children;
};

// The text's only document. INVALID_ARGUMENT "line:column: …" for everything that is wrong; an
// empty text is a kNull.
absl::StatusOr<YamlNode> ParseYaml(absl::string_view text);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_YAML_TREE_H_
