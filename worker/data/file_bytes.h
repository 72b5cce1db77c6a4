// Bounded reading of regular files, or of memory that stands for one, by offset, with errors that
// name the file.
//
//   EVOGRAD_ASSIGN_OR_RETURN(FileBytes file, FileBytes::Open("/models/base/model.safetensors"));
//   EVOGRAD_RETURN_IF_ERROR(file.Read(/*offset=*/0, /*size=*/8, buffer, "the header's length"));
//   EVOGRAD_ASSIGN_OR_RETURN(std::string text, ReadFileBytes(path, limits::kMaxModelConfigBytes));
//
// Threads: any number may Read at once. Errors: NOT_FOUND, PERMISSION_DENIED, DATA_LOSS (not a
// regular file, ends too early, cannot be read), RESOURCE_EXHAUSTED (larger than the bound, or this
// process has no descriptors or memory), INTERNAL (the disk or file server fails).
#ifndef EVOGRAD_WORKER_DATA_FILE_BYTES_H_
#define EVOGRAD_WORKER_DATA_FILE_BYTES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

// `path`: cannot be read, because of this errno.
absl::Status FileReadError(const std::string& path, int error);

class FileBytes {
 public:
  static absl::StatusOr<FileBytes> Open(const std::string& path);
  // Memory that outlives it; `name` stands in errors where a path would.
  static FileBytes Of(absl::string_view bytes, const std::string& name);

  const std::string& path() const { return path_; }
  // When it was opened.
  int64_t size() const { return size_; }

  // `size` bytes from `offset` on into `to`; `what` names them in an error.
  absl::Status Read(int64_t offset, int64_t size, void* to, const std::string& what) const;

 private:
  FileBytes() = default;

  std::string path_;
  std::shared_ptr<const int> descriptor_;  // null where there is memory instead
  const char* memory_ = nullptr;
  int64_t size_ = 0;
};

// The whole file, which may hold `max_bytes`.
absl::StatusOr<std::string> ReadFileBytes(const std::string& path, int64_t max_bytes);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_FILE_BYTES_H_
