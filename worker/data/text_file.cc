#include "worker/data/text_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/file_bytes.h"

namespace evograd {
namespace {

// Between two looks at the cancel flag.
constexpr int64_t kChunkBytes = 1 << 24;

absl::StatusOr<std::string> ReadBytes(const std::string& path, const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(const FileBytes file, FileBytes::Open(path));
  if (file.size() > limits::kMaxDatasetFileBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": is larger than the ",
                                                     limits::kMaxDatasetFileBytes,
                                                     " bytes that a file may hold; use a smaller "
                                                     "data set"));
  }
  std::string bytes(file.size(), '\0');
  for (int64_t offset = 0; offset < file.size(); offset += kChunkBytes) {
    if (cancelled.load(std::memory_order_relaxed)) {
      return absl::CancelledError(absl::StrCat(path, ": reading was cancelled"));
    }
    const int64_t part = std::min(kChunkBytes, file.size() - offset);
    EVOGRAD_RETURN_IF_ERROR(file.Read(offset, part, &bytes[offset], "its text"));
  }
  return bytes;
}

// The length of the character at the start of `text`, 0 where there is none (The Unicode Standard,
// table 3-7).
size_t CharacterLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  unsigned char low = 0x80;  // of the second byte
  unsigned char high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  if (length == 0 || text.size() < length || byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

absl::Status TextFile::Error(int64_t line, absl::string_view what) const {
  return absl::DataLossError(absl::StrCat(path, ":", line + 1, ": ", what));
}

size_t FindInvalidUtf8(absl::string_view text) {
  size_t offset = 0;
  while (offset < text.size()) {
    const size_t length = CharacterLength(text.substr(offset));
    if (length == 0) return offset;
    offset += length;
  }
  return absl::string_view::npos;
}

absl::StatusOr<TextFile> ReadTextLines(const std::string& path,
                                       const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string bytes, ReadBytes(path, cancelled));
  TextFile file;
  file.path = path;
  absl::string_view rest = bytes;
  absl::ConsumePrefix(&rest, "\xef\xbb\xbf");
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    absl::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == absl::string_view::npos ? rest.size() : end + 1);
    absl::ConsumeSuffix(&line, "\r");
    const int64_t number = static_cast<int64_t>(file.lines.size());
    const size_t invalid = FindInvalidUtf8(line);
    if (invalid != absl::string_view::npos) {
      return file.Error(number, absl::StrCat("is not UTF-8 from byte ", invalid + 1,
                                             " of the line on; convert the file"));
    }
    if (line.find('\0') != absl::string_view::npos) {
      return file.Error(number, "has a zero byte in it; is it a text file?");
    }
    file.lines.emplace_back(line);
  }
  return file;
}

}  // namespace evograd
