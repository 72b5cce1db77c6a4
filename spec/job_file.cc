#include "spec/job_file.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "spec/error.h"
#include "spec/job_file_value.h"
#include "spec/nearest.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The file's key for the job's id, which is no field of the spec.
constexpr char kNameKey[] = "name";

std::string Join(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

bool IsMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

const FieldDescriptor* FindField(const Descriptor& type, const std::string& key) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->name() == key || type.field(i)->json_name() == key) return type.field(i);
  }
  return nullptr;
}

// The path of a field called `key` anywhere in `type`; for one that was written at the wrong level.
std::string FindElsewhere(const Descriptor& type, const std::string& key, const std::string& path) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (!IsMessage(field)) continue;
    const std::string below = Join(path, field.name());
    if (const FieldDescriptor* found = FindField(*field.message_type(), key)) {
      return Join(below, found->name());
    }
    const std::string deeper = FindElsewhere(*field.message_type(), key, below);
    if (!deeper.empty()) return deeper;
  }
  return "";
}

std::string UnknownField(const Descriptor& type, const std::string& key, bool top) {
  std::vector<std::string> names = FieldNames(type);
  if (top) names.insert(names.begin(), kNameKey);
  const std::string nearest = Nearest(key, names);
  if (!nearest.empty()) return absl::StrCat("unknown field; did you mean `", nearest, "`?");
  const Descriptor& root = *v1::JobSpec::descriptor();
  const FieldDescriptor* at_top = FindField(root, key);
  const std::string elsewhere = at_top != nullptr ? at_top->name() : FindElsewhere(root, key, "");
  if (!elsewhere.empty()) {
    return absl::StrCat("unknown field here; it belongs at `", elsewhere, "`");
  }
  return absl::StrCat("unknown field; known here: ", absl::StrJoin(names, ", "));
}

// Walks the tree and the message's descriptor together.
class Reader {
 public:
  explicit Reader(JobFile* file) : file_(file) {}

  void ReadTop(const YamlNode& root) {
    if (root.kind == YamlNode::Kind::kNull) {
      return Fail(root.position, "",
                  "the file is empty; a job needs at least `problem` and `steps`");
    }
    ReadMessage(root, "", &file_->spec);
  }

  // OK, or all errors.
  absl::Status status() const {
    if (violations_.empty()) return absl::OkStatus();
    return WithMessage(InvalidFields(violations_), absl::StrJoin(lines_, "\n"));
  }

  static absl::Status WithMessage(const absl::Status& status, const std::string& message) {
    absl::Status renamed(status.code(), message);
    status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
      renamed.SetPayload(type_url, payload);
    });
    return renamed;
  }

 private:
  void Fail(TextPosition position, const std::string& field, const std::string& what) {
    if (violations_.size() >= limits::kMaxJobFileErrors) return;
    violations_.push_back({field, what});
    lines_.push_back(absl::StrCat(file_->path, ":", ToString(position), ": ", field,
                                  field.empty() ? "" : ": ", what));
  }

  void ReadMessage(const YamlNode& node, const std::string& path, Message* message) {
    const Descriptor& type = *message->GetDescriptor();
    if (node.kind != YamlNode::Kind::kMap) {
      return Fail(node.position, path,
                  absl::StrCat(Describe(node), "; a group of fields is needed: ",
                               absl::StrJoin(FieldNames(type), ", ")));
    }
    std::map<const FieldDescriptor*, int> lines;
    for (size_t i = 0; i < node.keys.size(); ++i) {
      const YamlNode& key = node.keys[i];
      if (path.empty() && key.text == kNameKey) {
        ReadName(key, node.children[i]);
        continue;
      }
      const FieldDescriptor* field = FindField(type, key.text);
      if (field == nullptr) {
        Fail(key.position, Join(path, key.text), UnknownField(type, key.text, path.empty()));
        continue;
      }
      const std::string at = Join(path, field->name());
      const auto first = lines.emplace(field, key.position.line);
      if (!first.second) {
        Fail(key.position, at, absl::StrCat("is given twice; first on line ", first.first->second));
        continue;
      }
      file_->positions[at] = key.position;
      ReadField(key, node.children[i], at, *field, message);
    }
  }

  void ReadName(const YamlNode& key, const YamlNode& value) {
    file_->positions[kNameKey] = key.position;
    std::string what = ReadText(value, &file_->job_id);
    if (what.empty()) {
      const absl::optional<FieldViolation> violation = CheckJobId(file_->job_id);
      if (violation.has_value()) what = violation->description;
    }
    if (!what.empty()) Fail(value.position, kNameKey, what);
  }

  void ReadField(const YamlNode& key, const YamlNode& value, const std::string& path,
                 const FieldDescriptor& field, Message* message) {
    const auto* group = field.real_containing_oneof();
    if (group != nullptr && message->GetReflection()->HasOneof(*message, group)) {
      const auto* other = message->GetReflection()->GetOneofFieldDescriptor(*message, group);
      return Fail(key.position, path,
                  absl::StrCat("cannot be given beside `", other->name(), "`: choose one"));
    }
    if (value.kind == YamlNode::Kind::kNull) {
      return Fail(key.position, path,
                  absl::StrCat("has no value; give one or leave the line out",
                               IsMessage(field) ? " ({} takes all its defaults)" : ""));
    }
    if (field.is_repeated()) return ReadList(value, path, field, message);
    if (IsMessage(field)) {
      return ReadMessage(value, path, message->GetReflection()->MutableMessage(message, &field));
    }
    const std::string what = SetField(value, field, message);
    if (!what.empty()) Fail(value.position, path, what);
  }

  void ReadList(const YamlNode& value, const std::string& path, const FieldDescriptor& field,
                Message* message) {
    if (value.kind != YamlNode::Kind::kSequence) {
      return Fail(value.position, path,
                  absl::StrCat(Describe(value), "; a list is needed, such as [a, b]"));
    }
    for (const YamlNode& element : value.children) {
      const std::string what = SetField(element, field, message);
      if (!what.empty()) Fail(element.position, path, what);
    }
  }

  JobFile* file_;
  std::vector<FieldViolation> violations_;
  std::vector<std::string> lines_;
};

// A field of a coordinator's answer as the file spells it.
std::string ToFilePath(absl::string_view field) {
  if (field == "job_id") return kNameKey;
  return std::string(absl::StripPrefix(field, "spec."));
}

}  // namespace

std::string JobFile::Locate(absl::string_view field) const {
  std::string at = ToFilePath(field);
  while (!at.empty()) {
    const auto found = positions.find(at);
    if (found != positions.end()) return absl::StrCat(path, ":", ToString(found->second));
    const size_t dot = at.rfind('.');
    at = dot == std::string::npos ? "" : at.substr(0, dot);
  }
  return path;
}

absl::Status JobFile::Locate(const absl::Status& status) const {
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  if (violations.empty()) return status;
  std::vector<std::string> lines;
  for (const FieldViolation& violation : violations) {
    lines.push_back(absl::StrCat(Locate(violation.field), ": ", ToFilePath(violation.field), ": ",
                                 violation.description));
  }
  return Reader::WithMessage(status, absl::StrJoin(lines, "\n"));
}

absl::StatusOr<JobFile> ParseJobFile(absl::string_view text, const std::string& path) {
  absl::StatusOr<YamlNode> root = ParseYaml(text);
  if (!root.ok()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     absl::StrCat(path, ":", root.status().message()), "MALFORMED_JOB_FILE",
                     {{"path", path}});
  }
  JobFile file;
  file.path = path;
  Reader reader(&file);
  reader.ReadTop(*root);
  EVOGRAD_RETURN_IF_ERROR(reader.status());
  return file;
}

}  // namespace evograd
