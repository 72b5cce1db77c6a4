// A file that comes in pieces and appears only when it is whole: written beside its place, checked,
// synced, renamed.
//
// Threads: one.
#ifndef EVOGRAD_CLIENT_LIB_DOWNLOAD_H_
#define EVOGRAD_CLIENT_LIB_DOWNLOAD_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sha256.h"
#include "proto/evograd/v1/job.pb.h"

namespace evograd {

class Download {
 public:
  // `checkpoint` states the size and the hash. FAILED_PRECONDITION: a file beside `path` cannot be
  // made.
  static absl::StatusOr<std::unique_ptr<Download>> Start(const v1::Checkpoint& checkpoint,
                                                         const std::string& path);
  // Removes what was written unless it was finished.
  ~Download();
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  // RESOURCE_EXHAUSTED: the disk is full. DATA_LOSS: more bytes than stated.
  absl::Status Write(absl::string_view bytes);
  // DATA_LOSS: fewer bytes than stated, or another hash.
  absl::Status Finish();

  const v1::Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  Download(const v1::Checkpoint& checkpoint, const std::string& path);
  // For a failed system call, from errno.
  absl::Status Failure(const std::string& what) const;
  absl::Status Damaged(const std::string& what) const;

  const v1::Checkpoint checkpoint_;
  const std::string path_;
  const std::string part_path_;
  int file_ = -1;
  int64_t size_bytes_ = 0;
  Sha256 hash_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_DOWNLOAD_H_
