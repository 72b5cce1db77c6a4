#include "spec/job_file_value.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/status_macros.h"
#include "spec/nearest.h"

namespace evograd {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// What a message quotes of a long value.
constexpr size_t kShownBytes = 60;

std::string Shown(const std::string& text) {
  return absl::StrCat("`", text.substr(0, kShownBytes), text.size() > kShownBytes ? "…" : "", "`");
}

bool HasDigit(const std::string& text) {
  return text.find_first_of("0123456789") != std::string::npos;
}

// YAML's and JSON's decimal numbers, and both spellings of what is not finite. No hexadecimal, no
// octal.
bool ParseDouble(const std::string& text, double* value) {
  if (text == ".nan" || text == ".NaN" || text == "NaN") {
    *value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  for (const char* infinity : {"Infinity", ".inf"}) {
    if (text == infinity || text == absl::StrCat("-", infinity)) {
      *value = text[0] == '-' ? -std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::infinity();
      return true;
    }
  }
  const bool plain = text.find_first_not_of("0123456789+-.eE") == std::string::npos;
  return plain && HasDigit(text) && absl::SimpleAtod(text, value);
}

bool LooksLikeNumber(const std::string& text) {
  double value;
  return ParseDouble(text, &value);
}

// Whole numbers as they are; also `1e3` and `500.0`, which the proto JSON mapping takes too.
template <typename Integer>
std::string ReadInteger(const YamlNode& node, Integer* value) {
  if (node.kind != YamlNode::Kind::kScalar || !LooksLikeNumber(node.text)) {
    return absl::StrCat(Describe(node), "; a whole number is needed");
  }
  const std::string& text = node.text;
  const std::string digits = text[0] == '-' || text[0] == '+' ? text.substr(1) : text;
  if (digits.size() > 1 && digits[0] == '0' && absl::ascii_isdigit(digits[1])) {
    return absl::StrCat(Shown(text), " begins with a zero; write it without");
  }
  if (absl::SimpleAtoi(text, value)) return "";
  double number = 0;
  ParseDouble(text, &number);
  // Up to 2^53 every whole double is exact.
  const bool whole = std::floor(number) == number && std::abs(number) <= 9007199254740992.0;
  if (whole && number >= static_cast<double>(std::numeric_limits<Integer>::min()) &&
      number <= static_cast<double>(std::numeric_limits<Integer>::max())) {
    *value = static_cast<Integer>(number);
    return "";
  }
  if (std::floor(number) != number) {
    return absl::StrCat(Shown(text), " is not a whole number");
  }
  return absl::StrCat(Shown(text), " is outside ", std::numeric_limits<Integer>::min(), " to ",
                      std::numeric_limits<Integer>::max());
}

std::string ReadDouble(const YamlNode& node, double* value) {
  if (node.kind != YamlNode::Kind::kScalar || !ParseDouble(node.text, value)) {
    return absl::StrCat(Describe(node), "; a number is needed");
  }
  if (std::isinf(*value) && HasDigit(node.text)) {
    return absl::StrCat(Shown(node.text), " is too large for a number");
  }
  return "";
}

std::string ReadBool(const YamlNode& node, bool* value) {
  const bool plain = node.kind == YamlNode::Kind::kScalar && !node.quoted;
  if (!plain || (node.text != "true" && node.text != "false")) {
    return absl::StrCat(Describe(node), "; true or false is needed");
  }
  *value = node.text == "true";
  return "";
}

// A value's name as people write it: `evograd-antithetic`.
std::string FileName(const EnumValueDescriptor& value) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(value.name()), {{"_", "-"}});
}

std::string ReadEnum(const YamlNode& node, const EnumDescriptor& type,
                     const EnumValueDescriptor** value) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) names.push_back(FileName(*type.value(i)));
  }
  const std::string wanted = absl::StrCat("one of ", absl::StrJoin(names, ", "), " is needed");
  if (node.kind != YamlNode::Kind::kScalar) return absl::StrCat(Describe(node), "; ", wanted);
  int number = 0;
  if (!node.quoted && absl::SimpleAtoi(node.text, &number)) {
    *value = type.FindValueByNumber(number);
  } else {
    const std::string name = absl::StrReplaceAll(absl::AsciiStrToUpper(node.text), {{"-", "_"}});
    *value = type.FindValueByName(name);
  }
  if (*value != nullptr) return "";
  const std::string nearest = Nearest(node.text, names);
  return absl::StrCat(Shown(node.text), " is unknown; ", wanted,
                      nearest.empty() ? "" : absl::StrCat("; did you mean `", nearest, "`?"));
}

}  // namespace

std::string Describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "there is no value";
    case YamlNode::Kind::kMap:
      return "this is a group of fields";
    case YamlNode::Kind::kSequence:
      return "this is a list";
    case YamlNode::Kind::kScalar:
      break;
  }
  if (node.quoted) return absl::StrCat("\"", node.text.substr(0, kShownBytes), "\" is text");
  if (node.text == "true" || node.text == "false")
    return absl::StrCat(Shown(node.text), " is a truth value");
  return absl::StrCat(Shown(node.text), LooksLikeNumber(node.text) ? " is a number" : " is text");
}

std::string ReadText(const YamlNode& node, std::string* text) {
  if (node.kind != YamlNode::Kind::kScalar) return absl::StrCat(Describe(node), "; text is needed");
  if (!node.quoted && (LooksLikeNumber(node.text) || node.text == "true" || node.text == "false")) {
    return absl::StrCat(Describe(node), ", and text is needed; put it in quotes");
  }
  *text = node.text;
  return "";
}

std::string SetField(const YamlNode& node, const FieldDescriptor& field, Message* message) {
  const auto* reflection = message->GetReflection();
  std::string what;
  // Reads a value of the setter's type, and sets or, in a list, adds it where nothing is wrong.
  const auto set = [&](auto value, auto read, auto setter, auto adder) {
    what = read(node, &value);
    if (what.empty()) (reflection->*(field.is_repeated() ? adder : setter))(message, &field, value);
  };
  using google::protobuf::Reflection;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      set(int32_t{0}, ReadInteger<int32_t>, &Reflection::SetInt32, &Reflection::AddInt32);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      set(int64_t{0}, ReadInteger<int64_t>, &Reflection::SetInt64, &Reflection::AddInt64);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      set(uint64_t{0}, ReadInteger<uint64_t>, &Reflection::SetUInt64, &Reflection::AddUInt64);
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      set(0.0, ReadDouble, &Reflection::SetDouble, &Reflection::AddDouble);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      set(false, ReadBool, &Reflection::SetBool, &Reflection::AddBool);
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      set(std::string(), ReadText, &Reflection::SetString, &Reflection::AddString);
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* value = nullptr;
      what = ReadEnum(node, *field.enum_type(), &value);
      if (!what.empty()) break;
      if (field.is_repeated()) {
        reflection->AddEnum(message, &field, value);
      } else {
        reflection->SetEnum(message, &field, value);
      }
      break;
    }
    default:
      EVOGRAD_CHECK(false, "job_file_test checks that a JobSpec has no other type");
  }
  return what;
}

}  // namespace evograd
