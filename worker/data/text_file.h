// Lines of a text file, checked to be UTF-8.
//
//   EVOGRAD_ASSIGN_OR_RETURN(TextFile file, ReadTextLines("/data/panx/en/train", cancelled));
//   file.Error(3, "has no tag")    // DATA_LOSS: /data/panx/en/train:4: has no tag
//
// A byte order mark at the beginning, carriage returns at the ends of lines and a missing last line
// end are taken as what they are. Memory grows with the file, up to limits::kMaxDatasetFileBytes.
//
// Threads: pure functions of the file. Errors, each naming the file and, where it can, the line:
// NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (larger than the bound), DATA_LOSS (no regular
// file, not UTF-8, a zero byte), CANCELLED (`cancelled` became true).
#ifndef EVOGRAD_WORKER_DATA_TEXT_FILE_H_
#define EVOGRAD_WORKER_DATA_TEXT_FILE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

struct TextFile {
  std::string path;
  std::vector<std::string> lines;  // without their ends

  // DATA_LOSS that begins with the path and the line's number, which counts from 1; `line` counts
  // from 0.
  absl::Status Error(int64_t line, absl::string_view what) const;
};

absl::StatusOr<TextFile> ReadTextLines(const std::string& path, const std::atomic<bool>& cancelled);

// The offset of the first byte that belongs to no UTF-8 character, or npos: overlong forms,
// surrogates and numbers beyond U+10FFFF are none.
size_t FindInvalidUtf8(absl::string_view text);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_TEXT_FILE_H_
