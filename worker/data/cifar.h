// Reader of the binary version of CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): records without a
// header, one after the other. A record is one label byte (CIFAR-100: the coarse, then the fine
// label) and 3,072 bytes of a picture of 32 x 32 pixels: all of red row by row, then green, then
// blue.
//
//   EVOGRAD_ASSIGN_OR_RETURN(CifarImages train,
//                            ReadCifar(CifarKind::kCifar10, folder, /*train=*/true, cancelled));
//
// Threads: pure functions of the files. Errors, each naming the file: NOT_FOUND (and whether the
// folder holds the Python version instead), DATA_LOSS (a length that is no number of records, a
// label out of range with its record and offset, no record at all) and those of ByteFile.
#ifndef EVOGRAD_WORKER_DATA_CIFAR_H_
#define EVOGRAD_WORKER_DATA_CIFAR_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evograd {

enum class CifarKind { kCifar10, kCifar100 };

inline constexpr int kCifarExtent = 32;
inline constexpr int kCifarChannels = 3;
inline constexpr int kCifarCoarseClasses = 20;

struct CifarImages {
  std::vector<uint8_t> pixels;         // [count, 3, 32, 32]
  std::vector<uint8_t> labels;         // [count]; CIFAR-100's fine ones
  std::vector<uint8_t> coarse_labels;  // [count]; none for CIFAR-10

  int64_t count() const { return labels.size(); }
};

// 10 or 100.
int CifarClasses(CifarKind kind);

// data_batch_1.bin to data_batch_5.bin or test_batch.bin; train.bin or test.bin. The number of
// records is not prescribed.
absl::StatusOr<CifarImages> ReadCifar(CifarKind kind, const std::string& folder, bool train,
                                      const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_CIFAR_H_
