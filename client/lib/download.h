// The bytes of a checkpoint that come in pieces: checked against its size and hash before they
// become the file.
//
// Threads: one.
#ifndef EVOGRAD_CLIENT_LIB_DOWNLOAD_H_
#define EVOGRAD_CLIENT_LIB_DOWNLOAD_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/lib/output_file.h"
#include "common/sha256.h"
#include "proto/evograd/v1/job.pb.h"

namespace evograd {

class Download {
 public:
  // `checkpoint` states the size and the hash; `file` outlives this.
  Download(v1::Checkpoint checkpoint, OutputFile* file)
      : checkpoint_(std::move(checkpoint)), file_(*file) {}

  // RESOURCE_EXHAUSTED: the disk is full. DATA_LOSS: more bytes than stated.
  absl::Status Write(absl::string_view bytes);
  // DATA_LOSS: fewer bytes than stated, or another hash.
  absl::Status Finish();

  const v1::Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  absl::Status Damaged(const std::string& what) const;

  const v1::Checkpoint checkpoint_;
  OutputFile& file_;
  int64_t size_bytes_ = 0;
  Sha256 hash_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_DOWNLOAD_H_
