#include "worker/data/safetensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/limits.h"
#include "common/status_macros.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "bytes become tensors as they lie in the file, which is little-endian"
#endif

namespace evograd {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLengthBytes = 8;
// A header nests as deep as the shape of a tensor.
constexpr int kMaxJsonDepth = 4;
constexpr char kMetadata[] = "__metadata__";
constexpr char kGetAgain[] = "; get the file again";

struct TypeName {
  absl::string_view name;
  at::ScalarType type;
};
constexpr TypeName kTypes[] = {
    {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"F64", at::kDouble},
    {"I64", at::kLong},  {"I32", at::kInt},   {"I16", at::kShort},     {"I8", at::kChar},
    {"U8", at::kByte},   {"BOOL", at::kBool},
};

absl::string_view NameOf(at::ScalarType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.name;
  }
  return "another type";
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// JSON of which each object says a key once, and which is not deep.
absl::StatusOr<Json> ParseJson(const std::string& text, const std::string& path,
                               const std::string& what) {
  std::vector<std::set<std::string>> keys;
  std::string repeated;
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    deep = deep || depth > kMaxJsonDepth;
    if (event == Json::parse_event_t::object_start) keys.resize(depth + 1);
    if (event == Json::parse_event_t::object_start) keys[depth].clear();
    if (event == Json::parse_event_t::key) {
      const std::string& key = value.get_ref<const std::string&>();
      if (!keys[depth - 1].insert(key).second && repeated.empty()) repeated = key;
    }
    return !deep;
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::exception& error) {
    return absl::DataLossError(
        absl::StrCat(path, ": ", what, " is not JSON: ", error.what(), kGetAgain));
  }
  if (deep) return absl::DataLossError(absl::StrCat(path, ": ", what, " nests too deep"));
  if (!repeated.empty()) {
    return absl::DataLossError(
        absl::StrCat(path, ": ", what, " has '", repeated, "' more than once", kGetAgain));
  }
  if (!json.is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": ", what, " is not a JSON object"));
  }
  return json;
}

// A count that a signed number holds.
bool ReadCount(const Json& json, int64_t* count) {
  if (!json.is_number_unsigned()) return false;
  const uint64_t value = json.get<uint64_t>();
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  *count = static_cast<int64_t>(value);
  return true;
}

// How many bytes a tensor has; false beyond what a signed number holds.
bool BytesOf(const std::vector<int64_t>& shape, at::ScalarType type, int64_t* bytes) {
  *bytes = c10::elementSize(type);
  for (const int64_t extent : shape) {
    if (__builtin_mul_overflow(*bytes, extent, bytes)) return false;
  }
  return true;
}

// One entry of the header; its offset counts from the first byte after the header.
absl::StatusOr<SafetensorsEntry> ParseEntry(const Json& json, const std::string& where) {
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!json.is_object() || !json.contains(field)) {
      return absl::DataLossError(absl::StrCat(where, " has no ", field, kGetAgain));
    }
  }
  if (json.size() != 3) {
    return absl::DataLossError(
        absl::StrCat(where, " says more than dtype, shape and data_offsets", kGetAgain));
  }
  SafetensorsEntry entry;
  if (!json["dtype"].is_string()) {
    return absl::DataLossError(absl::StrCat(where, ": its dtype is no text", kGetAgain));
  }
  const std::string& type = json["dtype"].get_ref<const std::string&>();
  const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&type](const TypeName& one) { return one.name == type; });
  if (known == std::end(kTypes)) {
    return absl::UnimplementedError(absl::StrCat(
        where, " is of type '", type, "'; those that are read are ",
        absl::StrJoin(
            kTypes, ", ",
            [](std::string* out, const TypeName& one) { absl::StrAppend(out, one.name); }),
        "; convert the file"));
  }
  entry.type = known->type;
  int64_t extent = 0;
  if (!json["shape"].is_array()) {
    return absl::DataLossError(absl::StrCat(where, ": its shape is no list", kGetAgain));
  }
  for (const Json& item : json["shape"]) {
    if (!ReadCount(item, &extent)) {
      return absl::DataLossError(
          absl::StrCat(where, ": its shape has '", item.dump(), "', which is no size", kGetAgain));
    }
    entry.shape.push_back(extent);
  }
  const Json& offsets = json["data_offsets"];
  int64_t end = 0;
  if (!offsets.is_array() || offsets.size() != 2 || !ReadCount(offsets[0], &entry.offset) ||
      !ReadCount(offsets[1], &end) || end < entry.offset) {
    return absl::DataLossError(absl::StrCat(where, ": its data_offsets ", offsets.dump(),
                                            " are not [begin, end]", kGetAgain));
  }
  entry.bytes = end - entry.offset;
  int64_t expected = 0;
  if (!BytesOf(entry.shape, entry.type, &expected) || expected != entry.bytes) {
    return absl::DataLossError(absl::StrCat(where, ": has ", entry.bytes, " bytes, which is not ",
                                            type, " of shape ", ShapeText(entry.shape), kGetAgain));
  }
  return entry;
}

absl::Status ReadMetadata(const Json& json, const std::string& path,
                          std::map<std::string, std::string>* metadata) {
  if (!json.is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": its ", kMetadata, " is no object", kGetAgain));
  }
  for (const auto& item : json.items()) {
    if (!item.value().is_string()) {
      return absl::DataLossError(
          absl::StrCat(path, ": its ", kMetadata, " '", item.key(), "' is no text", kGetAgain));
    }
    metadata->emplace(item.key(), item.value().get<std::string>());
  }
  return absl::OkStatus();
}

using NamedEntry = std::pair<std::string, SafetensorsEntry>;

// Tensors cover the bytes after the header, each byte once.
absl::Status CheckCover(std::vector<NamedEntry>* entries, int64_t data_bytes,
                        const std::string& path) {
  std::sort(entries->begin(), entries->end(), [](const NamedEntry& a, const NamedEntry& b) {
    return std::tie(a.second.offset, a.second.bytes) < std::tie(b.second.offset, b.second.bytes);
  });
  int64_t at = 0;
  for (const auto& [name, entry] : *entries) {
    if (entry.offset != at) {
      return absl::DataLossError(absl::StrCat(
          path, ": tensor '", name, "' begins at byte ", entry.offset, " of the data, ",
          entry.offset < at ? "within the one before" : "after a gap from byte ",
          entry.offset < at ? "" : absl::StrCat(at), kGetAgain));
    }
    if (entry.bytes > data_bytes - at) {
      return absl::DataLossError(absl::StrCat(path, ": tensor '", name, "' ends at byte ",
                                              at + entry.bytes, " of the data, of which there are ",
                                              data_bytes, ": the file is truncated", kGetAgain));
    }
    at += entry.bytes;
  }
  if (at != data_bytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": has ", data_bytes - at, " bytes after its last tensor", kGetAgain));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadHeader(const FileBytes& file, int64_t max_bytes) {
  uint64_t length = 0;
  EVOGRAD_RETURN_IF_ERROR(file.Read(0, kLengthBytes, &length, "the header's length"));
  if (length > static_cast<uint64_t>(file.size() - kLengthBytes)) {
    return absl::DataLossError(absl::StrCat(
        file.path(), ": says that its header has ", length, " bytes, and the file has ",
        file.size(), " in all; it is truncated or no safetensors file", kGetAgain));
  }
  if (length > static_cast<uint64_t>(max_bytes)) {
    return absl::ResourceExhaustedError(absl::StrCat(file.path(), ": its header has ", length,
                                                     " bytes, more than the ", max_bytes,
                                                     " that are read; is it the right file?"));
  }
  std::string header(length, '\0');
  EVOGRAD_RETURN_IF_ERROR(file.Read(kLengthBytes, length, header.data(), "the header"));
  return header;
}

absl::StatusOr<at::Tensor> EmptyTensor(const SafetensorsEntry& entry, const std::string& where) {
  try {
    return at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError(
        absl::StrCat(where, ": there is no memory for its ", entry.bytes, " bytes"));
  }
}

// "3 missing tensors (a, b, c)", as far as kMaxNamedTensors.
std::string ListText(const std::vector<std::string>& names, absl::string_view kind) {
  if (names.empty()) return "";
  const size_t shown = std::min<size_t>(names.size(), limits::kMaxNamedTensors);
  return absl::StrCat("; ", names.size(), " ", kind, ": ",
                      absl::StrJoin(names.begin(), names.begin() + shown, ", "),
                      shown < names.size() ? ", …" : "");
}

}  // namespace

absl::Status SafetensorsReader::Append(FileBytes file, int64_t max_header_bytes) {
  const std::string path = file.path();
  EVOGRAD_ASSIGN_OR_RETURN(const std::string header, ReadHeader(file, max_header_bytes));
  EVOGRAD_ASSIGN_OR_RETURN(const Json json, ParseJson(header, path, "its header"));
  const int64_t data_start = kLengthBytes + static_cast<int64_t>(header.size());
  std::vector<NamedEntry> entries;
  for (const auto& item : json.items()) {
    if (item.key() == kMetadata) {
      EVOGRAD_RETURN_IF_ERROR(ReadMetadata(item.value(), path, &metadata_));
      continue;
    }
    EVOGRAD_ASSIGN_OR_RETURN(
        SafetensorsEntry entry,
        ParseEntry(item.value(), absl::StrCat(path, ": tensor '", item.key(), "'")));
    entry.file = static_cast<int>(files_.size());
    entries.emplace_back(item.key(), std::move(entry));
  }
  EVOGRAD_RETURN_IF_ERROR(CheckCover(&entries, file.size() - data_start, path));
  for (auto& [name, entry] : entries) {
    entry.offset += data_start;
    const auto [at, added] = entries_.emplace(name, std::move(entry));
    if (!added) {
      return absl::DataLossError(absl::StrCat(path, ": tensor '", name, "' is also in ",
                                              files_[at->second.file].path(), kGetAgain));
    }
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::Open(const std::string& path) {
  SafetensorsReader reader;
  reader.path_ = path;
  EVOGRAD_ASSIGN_OR_RETURN(FileBytes file, FileBytes::Open(path));
  EVOGRAD_RETURN_IF_ERROR(reader.Append(std::move(file)));
  return reader;
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::OpenBytes(absl::string_view bytes,
                                                               const std::string& name,
                                                               int64_t max_header_bytes) {
  SafetensorsReader reader;
  reader.path_ = name;
  EVOGRAD_RETURN_IF_ERROR(reader.Append(FileBytes::Of(bytes, name), max_header_bytes));
  return reader;
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::OpenSharded(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string text,
                           ReadFileBytes(path, limits::kMaxSafetensorsHeaderBytes));
  EVOGRAD_ASSIGN_OR_RETURN(const Json json, ParseJson(text, path, "it"));
  if (!json.contains("weight_map") || !json["weight_map"].is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": has no weight_map", kGetAgain));
  }
  std::map<std::string, std::string> file_of;
  std::set<std::string> files;
  for (const auto& item : json["weight_map"].items()) {
    const std::string file = item.value().is_string() ? item.value().get<std::string>() : "";
    // Nothing outside the folder is read.
    if (file.empty() || file == "." || file == ".." || absl::StrContains(file, '/') ||
        absl::StrContains(file, '\0')) {
      return absl::DataLossError(absl::StrCat(path, ": weight_map has ", item.value().dump(),
                                              " for '", item.key(),
                                              "', which is no file of its folder", kGetAgain));
    }
    file_of[item.key()] = file;
    files.insert(file);
  }
  if (files.size() > limits::kMaxSafetensorsFiles) {
    return absl::ResourceExhaustedError(absl::StrCat(
        path, ": names ", files.size(), " files; there may be ", limits::kMaxSafetensorsFiles));
  }
  SafetensorsReader reader;
  reader.path_ = path;
  const std::string folder = path.substr(0, path.find_last_of('/') + 1);
  for (const std::string& file : files) {
    EVOGRAD_ASSIGN_OR_RETURN(FileBytes part, FileBytes::Open(absl::StrCat(folder, file)));
    EVOGRAD_RETURN_IF_ERROR(reader.Append(std::move(part)));
  }
  for (const auto& [name, entry] : reader.entries_) {
    const std::string& found = reader.files_[entry.file].path();
    const auto said = file_of.find(name);
    if (said == file_of.end() || absl::StrCat(folder, said->second) != found) {
      return absl::DataLossError(
          absl::StrCat(path, ": does not say that tensor '", name, "' is in ", found, kGetAgain));
    }
    file_of.erase(said);
  }
  if (!file_of.empty()) {
    const auto& [name, file] = *file_of.begin();
    return absl::DataLossError(absl::StrCat(folder, file, ": has no tensor '", name, "', which ",
                                            path, " says", kGetAgain));
  }
  return reader;
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::OpenModel(const std::string& folder) {
  const std::string single = absl::StrCat(folder, "/model.safetensors");
  absl::StatusOr<SafetensorsReader> reader = Open(single);
  if (!absl::IsNotFound(reader.status())) return reader;
  const std::string index = absl::StrCat(single, ".index.json");
  reader = OpenSharded(index);
  if (!absl::IsNotFound(reader.status()) || FileBytes::Open(index).ok()) return reader;
  return absl::NotFoundError(absl::StrCat(
      "there is neither model.safetensors nor model.safetensors.index.json in ", folder,
      "; put the model there (save_pretrained of transformers writes it) or give another folder"));
}

absl::StatusOr<at::Tensor> SafetensorsReader::Read(const std::string& name) const {
  const std::string where = absl::StrCat(path_, ": tensor '", name, "'");
  const auto found = entries_.find(name);
  if (found == entries_.end()) return absl::NotFoundError(absl::StrCat(where, " is not in it"));
  const SafetensorsEntry& entry = found->second;
  EVOGRAD_ASSIGN_OR_RETURN(at::Tensor tensor, EmptyTensor(entry, where));
  EVOGRAD_RETURN_IF_ERROR(files_[entry.file].Read(entry.offset, entry.bytes, tensor.data_ptr(),
                                                  absl::StrCat("tensor '", name, "'")));
  if (entry.type == at::kBool) {
    const auto* bytes = static_cast<const uint8_t*>(tensor.data_ptr());
    const auto* bad = std::find_if(bytes, bytes + entry.bytes, [](uint8_t b) { return b > 1; });
    if (bad != bytes + entry.bytes) {
      return absl::DataLossError(absl::StrCat(where, ": its element ", bad - bytes,
                                              " is neither true nor false", kGetAgain));
    }
  }
  return tensor;
}

namespace {

absl::Status LoadOne(const NamedTensor& target, const std::string& name,
                     const SafetensorsReader& file) {
  EVOGRAD_ASSIGN_OR_RETURN(at::Tensor values, file.Read(name));
  values = values.to(target.tensor.scalar_type());
  if (values.is_floating_point()) {
    const at::Tensor bad = at::isfinite(values).logical_not_().flatten();
    if (bad.any().item<bool>()) {
      const int64_t first = bad.nonzero()[0].item<int64_t>();
      return absl::DataLossError(absl::StrCat(file.path(), ": tensor '", name, "': its element ",
                                              first, " is ", values.flatten()[first].item<double>(),
                                              ", which is no weight", kGetAgain));
    }
  }
  const at::NoGradGuard no_grad;
  at::Tensor destination = target.tensor.detach();
  destination.copy_(values);
  return absl::OkStatus();
}

std::string Stripped(const std::string& name, const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes) {
    if (absl::StartsWith(name, prefix)) return name.substr(prefix.size());
  }
  return name;
}

bool Fits(const NamedTensor& target, const SafetensorsEntry& entry) {
  const bool type_fits = target.tensor.is_floating_point()
                             ? c10::isFloatingType(entry.type)
                             : target.tensor.scalar_type() == entry.type;
  return type_fits && target.tensor.sizes() == at::IntArrayRef(entry.shape);
}

}  // namespace

absl::Status LoadInto(const std::vector<NamedTensor>& targets, const SafetensorsReader& file,
                      const LoadOptions& options) {
  std::map<std::string, std::string> name_in_file;
  for (const auto& item : file.entries()) {
    const auto [at, added] =
        name_in_file.emplace(Stripped(item.first, options.stripped_prefixes), item.first);
    if (!added) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensors '", at->second,
                                                     "' and '", item.first,
                                                     "' are the same one of the model"));
    }
  }
  std::set<std::string> wanted;
  std::vector<std::string> missing, misfits, extra;
  for (const NamedTensor& target : targets) {
    EVOGRAD_CHECK(wanted.insert(target.name).second, "each target is named once");
    const auto found = name_in_file.find(target.name);
    if (found == name_in_file.end()) {
      missing.push_back(target.name);
      continue;
    }
    const SafetensorsEntry& entry = file.entries().at(found->second);
    if (!Fits(target, entry)) {
      misfits.push_back(absl::StrCat(found->second, " (", NameOf(entry.type), " ",
                                     ShapeText(entry.shape), ", where the model has ",
                                     NameOf(target.tensor.scalar_type()), " ",
                                     ShapeText(target.tensor.sizes().vec()), ")"));
    }
  }
  for (const auto& [name, in_file] : name_in_file) {
    const auto ignored = [&name = name](const std::string& prefix) {
      return absl::StartsWith(name, prefix);
    };
    if (wanted.count(name) == 0 &&
        std::none_of(options.ignored_prefixes.begin(), options.ignored_prefixes.end(), ignored)) {
      extra.push_back(in_file);
    }
  }
  if (!missing.empty() || !misfits.empty() || !extra.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": its tensors are not the model's", ListText(missing, "missing"),
                     ListText(extra, "extra"), ListText(misfits, "of wrong shape or type"),
                     "; give the weights and the configuration of the same model"));
  }
  for (const NamedTensor& target : targets) {
    EVOGRAD_RETURN_IF_ERROR(LoadOne(target, name_in_file.at(target.name), file));
  }
  return absl::OkStatus();
}

}  // namespace evograd
