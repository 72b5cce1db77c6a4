#include "worker/data/text_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

absl::Status FileError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": cannot be read: ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::DataLossError(message);
}

absl::Status TooLarge(const std::string& path) {
  return absl::ResourceExhaustedError(absl::StrCat(path, ": is larger than the ",
                                                   limits::kMaxDatasetFileBytes,
                                                   " bytes that a file may hold; use a smaller "
                                                   "data set"));
}

absl::StatusOr<std::string> ReadBytes(const std::string& path, const std::atomic<bool>& cancelled) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return FileError(path, errno);
  // Anything else (a folder, a pipe) fails late or never ends.
  if (!S_ISREG(status.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, ": is not a regular file"));
  }
  if (status.st_size > limits::kMaxDatasetFileBytes) return TooLarge(path);
  errno = 0;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (file == nullptr) return FileError(path, errno);
  std::string bytes;
  while (true) {
    if (cancelled.load(std::memory_order_relaxed)) {
      return absl::CancelledError(absl::StrCat(path, ": reading was cancelled"));
    }
    const size_t done = bytes.size();
    bytes.resize(done + kChunkBytes);
    const size_t got = std::fread(&bytes[done], 1, kChunkBytes, file.get());
    bytes.resize(done + got);
    if (std::ferror(file.get()) != 0) return FileError(path, errno);
    // The file may grow while it is read.
    if (static_cast<int64_t>(bytes.size()) > limits::kMaxDatasetFileBytes) return TooLarge(path);
    if (got < kChunkBytes) return bytes;
  }
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
