#include "worker/data/byte_file.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/file_bytes.h"

namespace evograd {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;

absl::Status CheckIsFile(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return FileReadError(path, errno);
  // Anything else (a folder, a pipe) fails late or never ends.
  if (!S_ISREG(status.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, ": is not a regular file"));
  }
  return absl::OkStatus();
}

}  // namespace

ByteFile::ByteFile(std::string path, gzFile_s* file, const std::atomic<bool>& cancelled)
    : path_(std::move(path)), file_(file, &gzclose), cancelled_(&cancelled) {}

absl::StatusOr<ByteFile> ByteFile::Open(const std::string& path,
                                        const std::atomic<bool>& cancelled) {
  EVOGRAD_RETURN_IF_ERROR(CheckIsFile(path));
  errno = 0;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return FileReadError(path, errno != 0 ? errno : ENOMEM);
  gzbuffer(file, 128 << 10);
  return ByteFile(path, file, cancelled);
}

absl::StatusOr<std::vector<uint8_t>> ByteFile::Read(int64_t size, const std::string& what) {
  std::vector<uint8_t> bytes;
  EVOGRAD_RETURN_IF_ERROR(Append(size, &bytes));
  if (bytes.size() < size) {
    return absl::DataLossError(absl::StrCat(path_, ": ends at offset ", offset_, " within ", what,
                                            " (", size - bytes.size(),
                                            " bytes are missing); get the file again"));
  }
  return bytes;
}

absl::StatusOr<std::vector<uint8_t>> ByteFile::ReadRest(int64_t most) {
  std::vector<uint8_t> bytes;
  EVOGRAD_RETURN_IF_ERROR(Append(most + 1, &bytes));
  if (bytes.size() > most) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path_, ": holds more than the ", most,
                     " bytes that a file may hold; use a smaller data set"));
  }
  return bytes;
}

absl::Status ByteFile::ExpectEnd() {
  uint8_t byte;
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t got, ReadSome(&byte, 1));
  if (got == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path_, ": has bytes from offset ", offset_ - 1,
                                          " on that its header does not count; get the file "
                                          "again"));
}

absl::Status ByteFile::Append(int64_t size, std::vector<uint8_t>* bytes) {
  while (bytes->size() < size) {
    if (cancelled_->load(std::memory_order_relaxed)) {
      return absl::CancelledError(absl::StrCat(path_, ": reading was cancelled"));
    }
    const size_t done = bytes->size();
    const int64_t part = std::min<int64_t>(kChunkBytes, size - done);
    bytes->resize(done + part);
    EVOGRAD_ASSIGN_OR_RETURN(const int64_t got, ReadSome(bytes->data() + done, part));
    bytes->resize(done + got);
    if (got < part) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ByteFile::ReadSome(uint8_t* to, int64_t size) {
  errno = 0;
  const int got = gzread(file_.get(), to, static_cast<unsigned>(size));
  if (got == size) {
    offset_ += got;
    return got;
  }
  const int system_error = errno;
  int code = Z_OK;
  const char* text = gzerror(file_.get(), &code);
  if (code == Z_ERRNO) return FileReadError(path_, system_error);
  if (code == Z_BUF_ERROR) {
    return absl::DataLossError(absl::StrCat(path_, ": the gzip file is truncated after offset ",
                                            offset_ + std::max(got, 0),
                                            " of its uncompressed bytes; get the file again"));
  }
  if (code != Z_OK && code != Z_STREAM_END) {
    return absl::DataLossError(absl::StrCat(path_, ": the gzip file is damaged after offset ",
                                            offset_, " of its uncompressed bytes (", text,
                                            "); get the file again"));
  }
  offset_ += got;
  return got;
}

}  // namespace evograd
