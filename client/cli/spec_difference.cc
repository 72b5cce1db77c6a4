#include "client/cli/spec_difference.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace evograd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

constexpr size_t kMaxShown = 5;
constexpr size_t kMaxValueBytes = 60;

class Lister : public MessageDifferencer::Reporter {
 public:
  using Path = std::vector<MessageDifferencer::SpecificField>;

  void ReportAdded(const Message& there, const Message& here, const Path& path) override {
    Add(path, "none", Value(here, path, /*first=*/false));
  }
  void ReportDeleted(const Message& there, const Message& here, const Path& path) override {
    Add(path, Value(there, path, /*first=*/true), "none");
  }
  void ReportModified(const Message& there, const Message& here, const Path& path) override {
    // What differs in a message is told by itself.
    if (path.back().field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return;
    Add(path, Value(there, path, /*first=*/true), Value(here, path, /*first=*/false));
  }

  std::string Text() const {
    const size_t shown = std::min(found_.size(), kMaxShown);
    const std::string text = absl::StrJoin(found_.begin(), found_.begin() + shown, ", ");
    const size_t more = found_.size() - shown;
    return more > 0 ? absl::StrCat(text, " and ", more, " more") : text;
  }

 private:
  static int Index(const MessageDifferencer::SpecificField& field, bool first) {
    return first || field.new_index < 0 ? field.index : field.new_index;
  }

  void Add(const Path& path, const std::string& there, const std::string& here) {
    std::vector<std::string> names;
    for (const auto& field : path) {
      names.push_back(field.index < 0 ? field.field->name()
                                      : absl::StrCat(field.field->name(), "[", field.index, "]"));
    }
    found_.push_back(
        absl::StrCat(absl::StrJoin(names, "."), " (", there, " there, ", here, " here)"));
  }

  // `message` is the one that has the path's last field.
  static std::string Value(const Message& message, const Path& path, bool first) {
    const FieldDescriptor* field = path.back().field;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return "given";
    std::string text;
    google::protobuf::TextFormat::PrintFieldValueToString(
        message, field, field->is_repeated() ? Index(path.back(), first) : -1, &text);
    return text.size() <= kMaxValueBytes ? text : absl::StrCat(text.substr(0, kMaxValueBytes), "…");
  }

  std::vector<std::string> found_;
};

}  // namespace

std::string SpecDifference(const v1::JobSpec& there, const v1::JobSpec& here) {
  Lister lister;
  MessageDifferencer differencer;
  differencer.ReportDifferencesTo(&lister);
  differencer.Compare(there, here);
  return lister.Text();
}

}  // namespace evograd
