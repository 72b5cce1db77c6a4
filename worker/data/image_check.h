// A look at all picture files of a job before its first step, so that one that is missing ends it
// then and not after days.
//
//   EVOGRAD_RETURN_IF_ERROR(CheckImageLists({&base, &novel}, cancelled));
//
// Each file is opened and its first and last kilobytes are read (CheckImageFile), many at a time,
// since threads mostly wait for a disk or a file server: some seconds for 200,000 files on a local
// disk. Every worker looks for itself, because each reads its own disk; for a second worker of one
// machine the blocks are in memory by then. A look that takes long says so every ten seconds.
//
// Threads: one caller. Errors: those of CheckImageFile for the first bad file in the order of the
// lists, naming the list; CANCELLED soon after `cancelled` is set.
#ifndef EVOGRAD_WORKER_DATA_IMAGE_CHECK_H_
#define EVOGRAD_WORKER_DATA_IMAGE_CHECK_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/data/image_list.h"

namespace evograd {

struct ImageCheckOptions {
  // Called between files at most this often, with how many of how many were looked at.
  absl::Duration report_interval = absl::Seconds(10);
  std::function<void(int64_t done, int64_t all)> report;  // null: a line on standard error
};

// A file that is in several lists is looked at once.
absl::Status CheckImageLists(const std::vector<const ImageList*>& lists,
                             const std::atomic<bool>& cancelled,
                             const ImageCheckOptions& options = {});

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IMAGE_CHECK_H_
