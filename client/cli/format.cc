#include "client/cli/format.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

size_t Width(absl::string_view line) {
  return std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

// Of the widest line, and of the last one.
size_t MaxWidth(absl::string_view cell) {
  size_t width = 0;
  for (absl::string_view line : absl::StrSplit(cell, '\n')) width = std::max(width, Width(line));
  return width;
}
size_t LastWidth(absl::string_view cell) {
  const size_t end = cell.rfind('\n');
  return Width(end == absl::string_view::npos ? cell : cell.substr(end + 1));
}

// Enough digits to be read back as the same number, no more than needed.
std::string Exact(double value) {
  for (int digits = 6; digits < std::numeric_limits<double>::max_digits10; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    if (std::strtod(text.c_str(), nullptr) == value) return text;
  }
  return absl::StrFormat("%.17g", value);
}

// One value: of a list, element `i`.
std::string ScalarToYaml(const Message& message, const FieldDescriptor& field, int i) {
  const auto* reflection = message.GetReflection();
  const bool list = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(list ? reflection->GetRepeatedInt32(message, &field, i)
                               : reflection->GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(list ? reflection->GetRepeatedInt64(message, &field, i)
                               : reflection->GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(list ? reflection->GetRepeatedUInt64(message, &field, i)
                               : reflection->GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Exact(list ? reflection->GetRepeatedDouble(message, &field, i)
                        : reflection->GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL: {
      const bool value = list ? reflection->GetRepeatedBool(message, &field, i)
                              : reflection->GetBool(message, &field);
      return value ? "true" : "false";
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value = list ? reflection->GetRepeatedEnum(message, &field, i)
                               : reflection->GetEnum(message, &field);
      return absl::StrReplaceAll(absl::AsciiStrToLower(value->name()), {{"_", "-"}});
    }
    default: {
      const std::string value = list ? reflection->GetRepeatedString(message, &field, i)
                                     : reflection->GetString(message, &field);
      // Quoted, so that nothing in it is taken for anything else. YAML has no \'.
      return absl::StrCat("\"", absl::StrReplaceAll(absl::Utf8SafeCEscape(value), {{"\\'", "'"}}),
                          "\"");
    }
  }
}

std::string ValueToYaml(const Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) return ScalarToYaml(message, field, 0);
  std::vector<std::string> elements;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    elements.push_back(ScalarToYaml(message, field, i));
  }
  return absl::StrCat("[", absl::StrJoin(elements, ", "), "]");
}

}  // namespace

std::string FormatNumber(double value) { return absl::StrFormat("%.4g", value); }

std::string FormatSeconds(double seconds) {
  if (!(seconds >= 0)) return "-";
  if (seconds < 1) return absl::StrFormat("%.3g s", seconds);
  if (seconds < 100) return absl::StrFormat("%.1f s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return absl::StrFormat("%d min %d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %d min", whole / 3600, whole / 60 % 60);
}

std::string FormatClock(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1000) return absl::StrCat(bytes, " B");
  double value = bytes;
  const char* unit = "";
  for (const char* larger : {"kB", "MB", "GB"}) {
    if (value < 1000) break;
    value /= 1000;
    unit = larger;
  }
  return absl::StrFormat("%.3g %s", value, unit);
}

std::string FormatAge(absl::Duration age) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(age));
  if (seconds < 120) return absl::StrCat(seconds, "s");
  if (seconds < 2 * 3600) return absl::StrCat(seconds / 60, "m");
  if (seconds < 48 * 3600) return absl::StrCat(seconds / 3600, "h");
  return absl::StrCat(seconds / 86400, "d");
}

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], MaxWidth(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    // Further lines of a cell stay in its column; those of the first would pass for rows.
    size_t column = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string margin = absl::StrCat("\n", std::string(std::max<size_t>(2, column), ' '));
      absl::StrAppend(&line, absl::StrReplaceAll(row[i], {{"\n", margin}}),
                      std::string(widths[i] - LastWidth(row[i]) + 2, ' '));
      column += widths[i] + 2;
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string FormatPairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& pair : pairs) {
    if (!pair.second.empty()) rows.push_back({pair.first, pair.second});
  }
  return FormatTable(rows);
}

std::string ToJson(const Message& message, bool on_one_line) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = !on_one_line;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  // A time before the year 1, say, which only a coordinator with a defect sends.
  if (!status.ok()) {
    json = absl::StrCat("{\"error\": \"the answer has no JSON form: ",
                        absl::Utf8SafeCEscape(status.ToString()), "\"}\n");
    return json;
  }
  if (on_one_line) json += "\n";
  return json;
}

std::string ToYaml(const Message& message, int indent) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::string text;
  for (const FieldDescriptor* field : fields) {
    absl::StrAppend(&text, std::string(indent, ' '), field->name(), ":");
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      absl::StrAppend(&text, " ", ValueToYaml(message, *field), "\n");
      continue;
    }
    const std::string inner =
        ToYaml(message.GetReflection()->GetMessage(message, field), indent + 2);
    absl::StrAppend(&text, inner.empty() ? " {}\n" : "\n", inner);
  }
  return text;
}

}  // namespace evograd
