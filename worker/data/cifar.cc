#include "worker/data/cifar.h"

#include <sys/stat.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/byte_file.h"

namespace evograd {
namespace {

constexpr int64_t kImageBytes = kCifarChannels * kCifarExtent * kCifarExtent;

int64_t LabelBytes(CifarKind kind) { return kind == CifarKind::kCifar10 ? 1 : 2; }

const char* NameOf(CifarKind kind) {
  return kind == CifarKind::kCifar10 ? "CIFAR-10" : "CIFAR-100";
}

bool Exists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

absl::Status CheckLength(CifarKind kind, const std::string& path, int64_t bytes) {
  const int64_t record = LabelBytes(kind) + kImageBytes;
  if (bytes > 0 && bytes % record == 0) return absl::OkStatus();
  const CifarKind other = kind == CifarKind::kCifar10 ? CifarKind::kCifar100 : CifarKind::kCifar10;
  const bool is_other = bytes > 0 && bytes % (LabelBytes(other) + kImageBytes) == 0;
  return absl::DataLossError(
      absl::StrCat(path, ": is ", bytes, " bytes long, which is no number of whole ", NameOf(kind),
                   " records of ", record, " bytes",
                   is_other ? absl::StrCat("; its records look like those of ", NameOf(other))
                            : absl::StrCat(" (the last one would begin at offset ",
                                           bytes - bytes % record, "); get the file again")));
}

absl::Status CheckLabel(const std::string& path, int64_t offset, int64_t record_bytes,
                        const char* what, uint8_t label, int classes) {
  if (label < classes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": the ", what, " at offset ", offset, " (record ",
                                          offset / record_bytes, ") is ", int{label},
                                          ", outside 0 to ", classes - 1));
}

absl::Status ReadFile(CifarKind kind, const std::string& path, const std::atomic<bool>& cancelled,
                      CifarImages* images) {
  EVOGRAD_ASSIGN_OR_RETURN(ByteFile file, ByteFile::Open(path, cancelled));
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                           file.ReadRest(limits::kMaxDatasetFileBytes));
  EVOGRAD_RETURN_IF_ERROR(CheckLength(kind, path, bytes.size()));
  const int64_t label_bytes = LabelBytes(kind);
  const int64_t record = label_bytes + kImageBytes;
  for (int64_t offset = 0; offset < bytes.size(); offset += record) {
    if (kind == CifarKind::kCifar100) {
      EVOGRAD_RETURN_IF_ERROR(
          CheckLabel(path, offset, record, "coarse label", bytes[offset], kCifarCoarseClasses));
      images->coarse_labels.push_back(bytes[offset]);
    }
    const int64_t at = offset + label_bytes - 1;
    EVOGRAD_RETURN_IF_ERROR(CheckLabel(path, at, record, "label", bytes[at], CifarClasses(kind)));
    images->labels.push_back(bytes[at]);
    const auto begin = bytes.begin() + offset + label_bytes;
    images->pixels.insert(images->pixels.end(), begin, begin + kImageBytes);
  }
  return absl::OkStatus();
}

}  // namespace

int CifarClasses(CifarKind kind) { return kind == CifarKind::kCifar10 ? 10 : 100; }

absl::StatusOr<CifarImages> ReadCifar(CifarKind kind, const std::string& folder, bool train,
                                      const std::atomic<bool>& cancelled) {
  std::vector<std::string> names;
  if (kind == CifarKind::kCifar100) {
    names.push_back(train ? "train" : "test");
  } else if (train) {
    for (int number = 1; number <= 5; ++number) {
      names.push_back(absl::StrCat("data_batch_", number));
    }
  } else {
    names.push_back("test_batch");
  }
  CifarImages images;
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(folder, "/", name);
    if (!Exists(path + ".bin") && Exists(path)) {
      return absl::NotFoundError(absl::StrCat(path, ".bin: is not there, but ", name,
                                              " of the Python version of ", NameOf(kind),
                                              " is; put the files of the binary version there"));
    }
    EVOGRAD_RETURN_IF_ERROR(ReadFile(kind, path + ".bin", cancelled, &images));
  }
  return images;
}

}  // namespace evograd
