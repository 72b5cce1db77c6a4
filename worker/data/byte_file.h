// A file of bytes, read from its beginning, through gzip where it is compressed; knows where it
// stands. What a file claims about itself is believed only as far as its bytes go: memory grows
// with what was read.
//
//   EVOGRAD_ASSIGN_OR_RETURN(ByteFile file, ByteFile::Open(path, cancelled));
//   EVOGRAD_ASSIGN_OR_RETURN(std::vector<uint8_t> header, file.Read(16, "the header"));
//   EVOGRAD_RETURN_IF_ERROR(file.ExpectEnd());
//
// Threads: one. Errors, each naming the file and, where it can, the offset in its uncompressed
// bytes: NOT_FOUND, PERMISSION_DENIED, DATA_LOSS (not a regular file, truncated, damaged gzip,
// trailing bytes), RESOURCE_EXHAUSTED, CANCELLED (`cancelled` became true).
#ifndef EVOGRAD_WORKER_DATA_BYTE_FILE_H_
#define EVOGRAD_WORKER_DATA_BYTE_FILE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct gzFile_s;

namespace evograd {

class ByteFile {
 public:
  // `cancelled` outlives the file.
  static absl::StatusOr<ByteFile> Open(const std::string& path, const std::atomic<bool>& cancelled);

  // Exactly `size` more bytes; `what` names them.
  absl::StatusOr<std::vector<uint8_t>> Read(int64_t size, const std::string& what);
  // All that is left, RESOURCE_EXHAUSTED when that is more than `most` bytes.
  absl::StatusOr<std::vector<uint8_t>> ReadRest(int64_t most);
  absl::Status ExpectEnd();

 private:
  ByteFile(std::string path, gzFile_s* file, const std::atomic<bool>& cancelled);

  // Fewer than `size` at the end of the file only.
  absl::StatusOr<int64_t> ReadSome(uint8_t* to, int64_t size);
  // Appends up to `size` bytes, fewer at the end of the file only.
  absl::Status Append(int64_t size, std::vector<uint8_t>* bytes);

  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile_s*)> file_;
  const std::atomic<bool>* cancelled_;
  int64_t offset_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_BYTE_FILE_H_
