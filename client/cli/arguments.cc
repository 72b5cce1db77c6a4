#include "client/cli/arguments.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/printable.h"
#include "spec/nearest.h"

namespace evograd {
namespace {

std::string Written(const std::string& flag) {
  return absl::StrCat(flag.size() == 1 ? "-" : "--", flag);
}

const Flag* FindFlag(const std::vector<Flag>& flags, const std::string& name) {
  for (const Flag& flag : flags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

absl::Status UnknownFlag(const std::string& word, const std::string& name,
                         const std::vector<Flag>& flags) {
  std::vector<std::string> names;
  for (const Flag& flag : flags) names.push_back(flag.name);
  const std::string nearest = Nearest(name, names);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag ", word,
                   nearest.empty() ? "" : absl::StrCat("; did you mean ", Written(nearest), "?")));
}

absl::Status GivenTwice(const std::string& word) {
  return absl::InvalidArgumentError(absl::StrCat(word, " is given twice"));
}

}  // namespace

absl::StatusOr<Arguments> Arguments::Parse(const std::vector<std::string>& words,
                                           const std::vector<Flag>& flags, bool stop_at_operand) {
  Arguments result;
  bool only_operands = false;
  for (const std::string& word : words) {
    // Nothing that is said to a coordinator can have it (protobuf's strings).
    if (!IsUtf8(word)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the word `", word, "` is not UTF-8 text; write it in UTF-8"));
    }
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    // "-" alone and what begins otherwise is an operand.
    if (only_operands || word.size() < 2 || word[0] != '-') {
      only_operands = only_operands || stop_at_operand;
      result.operands_.push_back(word);
      continue;
    }
    if (word == "--") {
      only_operands = true;
      continue;
    }
    const size_t equals = word.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string dashed = has_value ? word.substr(0, equals) : word;
    const bool is_long = absl::StartsWith(dashed, "--");
    const std::string name = absl::StrReplaceAll(dashed.substr(is_long ? 2 : 1), {{"_", "-"}});
    const Flag* flag = is_long == (name.size() > 1) ? FindFlag(flags, name) : nullptr;
    if (flag == nullptr) return UnknownFlag(dashed, name, flags);
    std::string value;
    if (flag->value.empty()) {
      if (has_value)
        return absl::InvalidArgumentError(absl::StrCat(dashed, " is a switch and takes no value"));
    } else {
      if (has_value) value = word.substr(equals + 1);
      if (!has_value && i + 1 < words.size()) value = words[++i];
      if (value.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat(dashed, " needs a value: ", dashed, " ", flag->value));
      }
    }
    if (!result.values_.emplace(name, value).second) return GivenTwice(dashed);
  }
  return result;
}

absl::Status Arguments::Merge(const Arguments& other, const std::vector<Flag>& flags) {
  for (const auto& [name, value] : other.values_) {
    if (FindFlag(flags, name) == nullptr) return UnknownFlag(Written(name), name, flags);
    if (!values_.emplace(name, value).second) return GivenTwice(Written(name));
  }
  return absl::OkStatus();
}

std::string Arguments::Get(const std::string& flag, const std::string& fallback) const {
  const auto found = values_.find(flag);
  return found == values_.end() ? fallback : found->second;
}

absl::StatusOr<int64_t> Arguments::GetInt(const std::string& flag, int64_t fallback, int64_t low,
                                          int64_t high) const {
  if (!Has(flag)) return fallback;
  const std::string text = Get(flag, "");
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < low || value > high) {
    return absl::InvalidArgumentError(absl::StrCat(
        Written(flag), " ", text, ": a whole number from ", low, " to ", high, " is needed"));
  }
  return value;
}

absl::StatusOr<absl::Duration> Arguments::GetDuration(const std::string& flag,
                                                      absl::Duration fallback) const {
  if (!Has(flag)) return fallback;
  const std::string text = Get(flag, "");
  absl::Duration value;
  double seconds = 0;
  const bool read =
      absl::ParseDuration(text, &value) ||
      (absl::SimpleAtod(text, &seconds) && seconds > 0 && (value = absl::Seconds(seconds), true));
  if (!read || value <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Written(flag), " ", text, ": a time is needed, such as 90s, 5m or 1h30m"));
  }
  return value;
}

absl::StatusOr<std::string> Arguments::GetChoice(const std::string& flag,
                                                 const std::string& fallback,
                                                 const std::vector<std::string>& choices) const {
  const std::string value = Get(flag, fallback);
  for (const std::string& choice : choices) {
    if (choice == value) return value;
  }
  return absl::InvalidArgumentError(absl::StrCat(Written(flag), " ", value, ": one of ",
                                                 absl::StrJoin(choices, ", "), " is needed"));
}

}  // namespace evograd
