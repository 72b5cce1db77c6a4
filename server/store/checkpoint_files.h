// The bytes of checkpoints, one file each: {directory}/{job uid}/{step}-{first 16 digits of the
// SHA-256}. A file appears under its name only when it is complete, has the stated size and hash,
// and is durable; an upload that comes to nothing leaves no file. As the name holds the hash, no
// upload ever changes what another one stored.
//
// Which files count is not decided here: the machine's records say so.
//
// Threads: all functions from any; a Writer or Reader from one at a time.
#ifndef EVOGRAD_SERVER_STORE_CHECKPOINT_FILES_H_
#define EVOGRAD_SERVER_STORE_CHECKPOINT_FILES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sha256.h"
#include "server/core/records.h"

namespace evograd {

class CheckpointFiles {
 public:
  // `directory` exists and is nobody else's.
  explicit CheckpointFiles(std::string directory) : directory_(std::move(directory)) {}

  class Writer {
   public:
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // INVALID_ARGUMENT: more bytes than stated; RESOURCE_EXHAUSTED: the disk is full; INTERNAL.
    absl::Status Append(absl::string_view bytes);
    // Makes the file durable under its name. DATA_LOSS: the bytes do not have the stated size and
    // hash; others as above.
    absl::Status Finish();

   private:
    friend class CheckpointFiles;
    Writer(std::string folder, std::string path, std::string temporary, int fd, int64_t size,
           std::string sha256);

    const std::string folder_, path_, temporary_;
    const int fd_;
    const int64_t size_bytes_;
    const std::string sha256_;
    int64_t written_bytes_ = 0;
    Sha256 hash_;
    bool finished_ = false;
  };

  class Reader {
   public:
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // The next bytes, at most limits::kCheckpointChunkBytes; empty after the last. DATA_LOSS,
    // before the last bytes are given: the file does not have the recorded size and hash.
    absl::StatusOr<std::string> Next();

   private:
    friend class CheckpointFiles;
    Reader(int fd, v1::Checkpoint checkpoint) : fd_(fd), checkpoint_(std::move(checkpoint)) {}

    const int fd_;
    const v1::Checkpoint checkpoint_;
    int64_t read_bytes_ = 0;
    Sha256 hash_;
    bool ended_ = false;
  };

  // Of `checkpoint`, step, size and hash count.
  absl::StatusOr<std::unique_ptr<Writer>> Write(const std::string& job_uid,
                                                const v1::Checkpoint& checkpoint);
  // DATA_LOSS: there is no such file.
  absl::StatusOr<std::unique_ptr<Reader>> Read(const std::string& job_uid,
                                               const v1::Checkpoint& checkpoint) const;

  // Nothing where it is gone already.
  void Remove(const std::string& job_uid, const v1::Checkpoint& checkpoint);
  // Removes every file but those recorded: what a crash left behind. Before anything is written.
  absl::Status RemoveOthers(const std::vector<CheckpointRecord>& records);

 private:
  std::string Folder(const std::string& job_uid) const;
  std::string Path(const std::string& job_uid, const v1::Checkpoint& checkpoint) const;

  const std::string directory_;
  std::atomic<int64_t> temporaries_{0};
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_CHECKPOINT_FILES_H_
