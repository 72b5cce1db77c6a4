#include "worker/data/idx.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr uint32_t kImagesMagic = 2051;
constexpr uint32_t kLabelsMagic = 2049;
constexpr int64_t kChunkBytes = 1 << 20;

absl::Status FileError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": cannot be read: ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::DataLossError(message);
}

absl::Status CheckIsFile(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return FileError(path, errno);
  // Anything else (a folder, a pipe) fails late or never ends.
  if (!S_ISREG(status.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, ": is not a regular file"));
  }
  return absl::OkStatus();
}

// A file of bytes, through gzip where it is compressed; knows where it stands.
class ByteFile {
 public:
  static absl::StatusOr<ByteFile> Open(const std::string& path,
                                       const std::atomic<bool>& cancelled) {
    EVOGRAD_RETURN_IF_ERROR(CheckIsFile(path));
    errno = 0;
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) return FileError(path, errno != 0 ? errno : ENOMEM);
    gzbuffer(file, 128 << 10);
    return ByteFile(path, file, cancelled);
  }

  // Exactly `size` more bytes; `what` names them.
  absl::StatusOr<std::vector<uint8_t>> Read(int64_t size, const std::string& what) {
    std::vector<uint8_t> bytes;
    while (bytes.size() < size) {
      if (cancelled_->load(std::memory_order_relaxed)) {
        return absl::CancelledError(absl::StrCat(path_, ": reading was cancelled"));
      }
      const size_t done = bytes.size();
      const int64_t part = std::min<int64_t>(kChunkBytes, size - done);
      bytes.resize(done + part);
      EVOGRAD_ASSIGN_OR_RETURN(const int64_t got, ReadSome(bytes.data() + done, part));
      if (got < part) {
        return absl::DataLossError(absl::StrCat(path_, ": ends at offset ", offset_, " within ",
                                                what, " (", size - done - got,
                                                " bytes are missing); get the file again"));
      }
    }
    return bytes;
  }

  absl::Status ExpectEnd() {
    uint8_t byte;
    EVOGRAD_ASSIGN_OR_RETURN(const int64_t got, ReadSome(&byte, 1));
    if (got == 0) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(path_, ": has bytes from offset ", offset_ - 1,
                                            " on that its header does not count; get the file "
                                            "again"));
  }

 private:
  ByteFile(std::string path, gzFile file, const std::atomic<bool>& cancelled)
      : path_(std::move(path)), file_(file, &gzclose), cancelled_(&cancelled) {}

  // Fewer than `size` at the end of the file only.
  absl::StatusOr<int64_t> ReadSome(uint8_t* to, int64_t size) {
    errno = 0;
    const int got = gzread(file_.get(), to, static_cast<unsigned>(size));
    if (got == size) {
      offset_ += got;
      return got;
    }
    const int system_error = errno;
    int code = Z_OK;
    const char* text = gzerror(file_.get(), &code);
    if (code == Z_ERRNO) return FileError(path_, system_error);
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

  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  const std::atomic<bool>* cancelled_;
  int64_t offset_ = 0;
};

absl::StatusOr<std::vector<uint32_t>> ReadHeader(ByteFile* file, const std::string& path,
                                                 uint32_t magic, int dimensions) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                           file->Read(4 * (1 + dimensions), "the header"));
  std::vector<uint32_t> numbers;
  for (size_t i = 0; i < bytes.size(); i += 4) {
    numbers.push_back(uint32_t{bytes[i]} << 24 | uint32_t{bytes[i + 1]} << 16 |
                      uint32_t{bytes[i + 2]} << 8 | uint32_t{bytes[i + 3]});
  }
  if (numbers[0] != magic) {
    return absl::DataLossError(absl::StrCat(
        path, ": the magic number at offset 0 is ", numbers[0], " where an idx file of ",
        magic == kImagesMagic ? "images" : "labels", " has ", magic,
        (numbers[0] == kImagesMagic || numbers[0] == kLabelsMagic)
            ? "; images and labels seem to be exchanged"
            : "; is it the right file?"));
  }
  numbers.erase(numbers.begin());
  return numbers;
}

absl::Status CheckSize(const std::string& path, int64_t count, int64_t item_bytes) {
  if (count > limits::kMaxDatasetFileBytes / item_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        path, ": its header asks for ", count, " items of ", item_bytes, " bytes, more than the ",
        limits::kMaxDatasetFileBytes, " bytes that a file may hold; use a smaller data set"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Find(const std::string& folder, const std::string& name) {
  for (const char* suffix : {"", ".gz"}) {
    const std::string path = absl::StrCat(folder, "/", name, suffix);
    struct stat status;
    if (stat(path.c_str(), &status) == 0) return path;
    if (errno != ENOENT && errno != ENOTDIR) return FileError(path, errno);
  }
  return absl::NotFoundError(absl::StrCat("there is neither ", name, " nor ", name, ".gz in ",
                                          folder, "; put the file there or give another folder"));
}

}  // namespace

absl::StatusOr<IdxImages> ReadIdxImages(const std::string& path,
                                        const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(ByteFile file, ByteFile::Open(path, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<uint32_t> sizes,
                           ReadHeader(&file, path, kImagesMagic, 3));
  IdxImages images;
  images.count = sizes[0];
  images.rows = sizes[1];
  images.columns = sizes[2];
  for (const int64_t extent : {images.rows, images.columns}) {
    if (extent < 1 || extent > limits::kMaxImageExtent) {
      return absl::DataLossError(
          absl::StrCat(path, ": its header says images of ", images.rows, " x ", images.columns,
                       " pixels; each side may be 1 to ", limits::kMaxImageExtent));
    }
  }
  const int64_t image_bytes = images.rows * images.columns;
  EVOGRAD_RETURN_IF_ERROR(CheckSize(path, images.count, image_bytes));
  EVOGRAD_ASSIGN_OR_RETURN(images.pixels, file.Read(images.count * image_bytes,
                                                    absl::StrCat("its ", images.count, " images")));
  EVOGRAD_RETURN_IF_ERROR(file.ExpectEnd());
  return images;
}

absl::StatusOr<std::vector<uint8_t>> ReadIdxLabels(const std::string& path, int classes,
                                                   const std::atomic<bool>& cancelled) {
  EVOGRAD_ASSIGN_OR_RETURN(ByteFile file, ByteFile::Open(path, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<uint32_t> sizes,
                           ReadHeader(&file, path, kLabelsMagic, 1));
  EVOGRAD_RETURN_IF_ERROR(CheckSize(path, sizes[0], 1));
  EVOGRAD_ASSIGN_OR_RETURN(std::vector<uint8_t> labels,
                           file.Read(sizes[0], absl::StrCat("its ", sizes[0], " labels")));
  EVOGRAD_RETURN_IF_ERROR(file.ExpectEnd());
  const auto bad = std::find_if(labels.begin(), labels.end(),
                                [classes](uint8_t label) { return label >= classes; });
  if (bad != labels.end()) {
    constexpr int kHeaderBytes = 8;
    return absl::DataLossError(absl::StrCat(path, ": the label at offset ",
                                            kHeaderBytes + (bad - labels.begin()), " is ",
                                            int{*bad}, ", outside 0 to ", classes - 1));
  }
  return labels;
}

absl::StatusOr<LabelledImages> ReadLabelledImages(const std::string& folder,
                                                  const std::string& prefix, int classes,
                                                  const std::atomic<bool>& cancelled) {
  LabelledImages set;
  EVOGRAD_ASSIGN_OR_RETURN(set.images_path, Find(folder, prefix + "-images-idx3-ubyte"));
  EVOGRAD_ASSIGN_OR_RETURN(set.labels_path, Find(folder, prefix + "-labels-idx1-ubyte"));
  EVOGRAD_ASSIGN_OR_RETURN(set.labels, ReadIdxLabels(set.labels_path, classes, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(set.images, ReadIdxImages(set.images_path, cancelled));
  if (set.images.count != set.labels.size()) {
    return absl::DataLossError(
        absl::StrCat(set.images_path, " has ", set.images.count, " images but ", set.labels_path,
                     " has ", set.labels.size(), " labels; they must belong together"));
  }
  return set;
}

}  // namespace evograd
