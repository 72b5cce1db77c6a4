#include "worker/data/safetensors_writer.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "bytes are written as they lie in memory, which the format wants little-endian"
#endif

namespace evograd {
namespace {

constexpr size_t kAlignment = 8;

void Pad(std::string* bytes, char with) {
  bytes->resize((bytes->size() + kAlignment - 1) / kAlignment * kAlignment, with);
}

// A JSON string of `text`.
std::string Quoted(absl::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&out, "\\", absl::string_view(&c, 1));
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(&out, "\\u", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad4));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

void SafetensorsWriter::Add(const std::string& name, const std::string& type,
                            const std::vector<int64_t>& shape, absl::string_view bytes) {
  const size_t begin = data_.size();
  data_.append(bytes.data(), bytes.size());
  absl::StrAppend(&entries_, entries_.empty() ? "" : ",", Quoted(name), ":{\"dtype\":\"", type,
                  "\",\"shape\":[", absl::StrJoin(shape, ","), "],\"data_offsets\":[", begin, ",",
                  data_.size(), "]}");
}

void SafetensorsWriter::AddDoubles(const std::string& name, const std::vector<int64_t>& shape,
                                   const std::vector<double>& values) {
  Add(name, "F64", shape,
      absl::string_view(reinterpret_cast<const char*>(values.data()),
                        values.size() * sizeof(double)));
}

void SafetensorsWriter::AddText(const std::string& key, const std::string& text) {
  absl::StrAppend(&texts_, texts_.empty() ? "" : ",", Quoted(key), ":", Quoted(text));
}

std::string SafetensorsWriter::Serialise() const {
  std::string header = "{";
  if (!texts_.empty()) {
    absl::StrAppend(&header, "\"__metadata__\":{", texts_, "}", entries_.empty() ? "" : ",");
  }
  absl::StrAppend(&header, entries_, "}");
  Pad(&header, ' ');
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  absl::StrAppend(&file, header, data_);
  return file;
}

absl::Status SafetensorsWriter::Write(const std::string& path) const {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot open ", path, " for writing: ", std::strerror(errno)));
  }
  const std::string bytes = Serialise();
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if ((std::fclose(file) == 0) && written) return absl::OkStatus();
  const std::string why = std::strerror(errno);
  std::remove(path.c_str());
  return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path, ": ", why));
}

}  // namespace evograd
