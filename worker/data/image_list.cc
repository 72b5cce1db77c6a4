#include "worker/data/image_list.h"

#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/data/whole_file.h"

namespace evograd {
namespace {

using Json = nlohmann::json;

absl::Status Bad(const std::string& path, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

// A list nests two deep. Text that is nothing but brackets would take a hundred times its size.
bool NestsDeeply(absl::string_view text) {
  constexpr int kMaxDepth = 16;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

absl::StatusOr<Json> Parse(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, limits::kMaxImageListBytes));
  if (NestsDeeply(text)) return Bad(path, "is no list of images: it nests too deeply");
  try {
    Json object = Json::parse(text);
    if (!object.is_object()) {
      return Bad(path, absl::StrCat("holds a JSON ", object.type_name(),
                                    " where a list of images "
                                    "is an object with label_names, image_names, image_labels"));
    }
    return object;
  } catch (const Json::parse_error& error) {
    return Bad(path, absl::StrCat("is not JSON (byte ", error.byte, ": ", error.what(), ")"));
  } catch (const Json::exception& error) {  // a number that is too large
    return Bad(path, absl::StrCat("is not JSON that can be read (", error.what(), ")"));
  }
}

absl::StatusOr<const Json*> ArrayField(const std::string& path, const Json& object,
                                       const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) {
    return Bad(path, absl::StrCat("has no field ", field,
                                  "; a list of images has label_names, image_names and "
                                  "image_labels"));
  }
  if (!found->is_array()) {
    return Bad(path, absl::StrCat(field, " is a JSON ", found->type_name(), ", not an array"));
  }
  return &*found;
}

absl::StatusOr<std::vector<std::string>> Strings(const std::string& path, const Json& array,
                                                 const char* field) {
  std::vector<std::string> strings;
  strings.reserve(array.size());
  for (const Json& entry : array) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().empty()) {
      return Bad(path, absl::StrCat(field, "[", strings.size(), "] is ",
                                    entry.is_string() ? "empty" : entry.type_name(),
                                    " where a name is expected"));
    }
    strings.push_back(entry.get<std::string>());
  }
  return strings;
}

absl::StatusOr<std::vector<int64_t>> Labels(const std::string& path, const Json& array,
                                            int64_t names) {
  std::vector<int64_t> labels;
  labels.reserve(array.size());
  for (const Json& entry : array) {
    const std::string where = absl::StrCat("image_labels[", labels.size(), "] is ");
    constexpr uint64_t kMaxLabel = limits::kMaxExamples;
    if (!entry.is_number_unsigned() || entry.get<uint64_t>() > kMaxLabel) {
      // Not dump() of anything: an array may be long.
      const std::string value =
          entry.is_number() ? entry.dump() : absl::StrCat("a JSON ", entry.type_name());
      return Bad(path, absl::StrCat(where, value, " where a whole number from 0 to ",
                                    limits::kMaxExamples, " is expected"));
    }
    labels.push_back(entry.get<int64_t>());
    if (names > 0 && labels.back() >= names) {
      return Bad(path, absl::StrCat(where, labels.back(), ", outside 0 to ", names - 1,
                                    ": label_names has ", names, " names"));
    }
  }
  return labels;
}

std::string Folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

ImageList Assemble(const std::string& path, const std::vector<std::string>& names,
                   std::vector<std::string> images, absl::Span<const int64_t> labels) {
  ImageList list;
  list.path = path;
  list.images = std::move(images);
  const std::string folder = Folder(path);
  for (std::string& image : list.images) {
    if (!absl::StartsWith(image, "/")) image = folder + image;
  }
  std::map<int64_t, std::vector<int64_t>> images_of;
  for (int64_t i = 0; i < labels.size(); ++i) images_of[labels[i]].push_back(i);
  list.classes_of.resize(labels.size());
  for (auto& [label, members] : images_of) {
    for (const int64_t image : members) list.classes_of[image] = list.classes.size();
    list.classes.push_back(
        {label, names.empty() ? absl::StrCat(label) : names[label], std::move(members)});
  }
  return list;
}

}  // namespace

absl::StatusOr<ImageList> ReadImageList(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const Json object, Parse(path));
  EVOGRAD_ASSIGN_OR_RETURN(const Json* const name_array, ArrayField(path, object, "label_names"));
  EVOGRAD_ASSIGN_OR_RETURN(const Json* const image_array, ArrayField(path, object, "image_names"));
  EVOGRAD_ASSIGN_OR_RETURN(const Json* const label_array, ArrayField(path, object, "image_labels"));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                           Strings(path, *name_array, "label_names"));
  EVOGRAD_ASSIGN_OR_RETURN(std::vector<std::string> images,
                           Strings(path, *image_array, "image_names"));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<int64_t> labels,
                           Labels(path, *label_array, names.size()));
  if (images.size() != labels.size()) {
    return Bad(path, absl::StrCat("image_names has ", images.size(), " entries but image_labels ",
                                  labels.size(), "; each image needs one label"));
  }
  if (images.empty()) {
    return Bad(path,
               "is an empty domain: image_names has no entry; make the list again from a "
               "folder with images");
  }
  return Assemble(path, names, std::move(images), labels);
}

absl::Status CheckClasses(const ImageList& list, int64_t min_classes, int64_t min_images,
                          bool repeat_images) {
  if (list.classes.size() < min_classes) {
    return absl::InvalidArgumentError(
        absl::StrCat(list.path, ": has ", list.classes.size(), " classes with images where ",
                     min_classes, " are needed; use fewer ways or a larger domain"));
  }
  if (repeat_images) return absl::OkStatus();
  const ImageClass* first = nullptr;
  int64_t short_classes = 0;
  for (const ImageClass& one : list.classes) {
    if (one.images.size() >= min_images) continue;
    if (first == nullptr) first = &one;
    ++short_classes;
  }
  if (first == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      list.path, ": class ", first->label, " (", first->name, ") has ", first->images.size(),
      " images where ", min_images, " are needed",
      short_classes > 1 ? absl::StrCat(" (", short_classes - 1, " more have too few)") : "",
      "; use fewer shots or queries, take such classes out of the list, or let images repeat"));
}

}  // namespace evograd
