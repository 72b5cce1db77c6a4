#include "worker/data/idx.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/byte_file.h"
#include "worker/data/file_bytes.h"

namespace evograd {
namespace {

constexpr uint32_t kImagesMagic = 2051;
constexpr uint32_t kLabelsMagic = 2049;

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
    if (errno != ENOENT && errno != ENOTDIR) return FileReadError(path, errno);
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
