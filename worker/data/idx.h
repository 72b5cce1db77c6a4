// Reader of idx files, the format of MNIST and its relatives: big-endian, images with magic number
// 2051 (count, rows, columns, then bytes row by row), labels with 2049 (count, then bytes). Files
// may be compressed with gzip.
//
//   EVOGRAD_ASSIGN_OR_RETURN(LabelledImages train,
//                            ReadLabelledImages("/data/mnist", "train", /*classes=*/10,
//                            cancelled));
//
// What a file claims is believed only as far as its bytes go: memory grows with what was read, up
// to limits::kMaxDatasetFileBytes.
//
// Threads: pure functions of the files. Errors, each naming the file and, where it can, the offset
// in its uncompressed bytes: NOT_FOUND (no such file; lists the names that were looked for),
// DATA_LOSS (wrong magic number, truncated, trailing bytes, damaged gzip, counts that differ, a
// label out of range), RESOURCE_EXHAUSTED (larger than the bound), PERMISSION_DENIED, CANCELLED
// (`cancelled` became true).
#ifndef EVOGRAD_WORKER_DATA_IDX_H_
#define EVOGRAD_WORKER_DATA_IDX_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evograd {

struct IdxImages {
  int64_t count = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<uint8_t> pixels;  // [count, rows, columns]
};

struct LabelledImages {
  IdxImages images;
  std::vector<uint8_t> labels;  // one per image
  std::string images_path;
  std::string labels_path;
};

absl::StatusOr<IdxImages> ReadIdxImages(const std::string& path,
                                        const std::atomic<bool>& cancelled);

// Labels below `classes`.
absl::StatusOr<std::vector<uint8_t>> ReadIdxLabels(const std::string& path, int classes,
                                                   const std::atomic<bool>& cancelled);

// `prefix`-images-idx3-ubyte and `prefix`-labels-idx1-ubyte of a folder, as they are or with .gz.
absl::StatusOr<LabelledImages> ReadLabelledImages(const std::string& folder,
                                                  const std::string& prefix, int classes,
                                                  const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IDX_H_
