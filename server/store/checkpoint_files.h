// The bytes of checkpoints, one file each: {directory}/{job uid}/{step}-{first 16 digits of the
// SHA-256}. A file appears under its name only when it is complete, has the stated size and hash,
// and is durable; an upload that comes to nothing leaves no file. As the name holds the hash, no
// upload ever changes what another one stored.
//
// Which files count is not decided here: the machine's records say so. What lies there and is not
// of this form is somebody else's, and is left alone.
//
// Errors not named below: those of common/errno_status.h, all of which may pass when the disk is
// well again.
//
// Threads: all functions from any; a Writer or Reader from one at a time.
#ifndef EVOGRAD_SERVER_STORE_CHECKPOINT_FILES_H_
#define EVOGRAD_SERVER_STORE_CHECKPOINT_FILES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sha256.h"
#include "server/core/records.h"
#include "server/store/disk_space.h"

namespace evograd {

class CheckpointFiles {
 public:
  // `directory` exists and is nobody else's. Without `space` uploads may fill the disk.
  explicit CheckpointFiles(std::string directory, DiskSpace* space = nullptr);

  class Writer {
   public:
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // INVALID_ARGUMENT: more bytes than stated; RESOURCE_EXHAUSTED: the disk is full.
    absl::Status Append(absl::string_view bytes);
    // Makes the file durable under its name. DATA_LOSS: the bytes do not have the stated size and
    // hash; others as above.
    absl::Status Finish();

   private:
    friend class CheckpointFiles;
    Writer(CheckpointFiles* files, std::string folder, std::string path, std::string temporary,
           int fd, const v1::Checkpoint& checkpoint);

    CheckpointFiles& files_;
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
    // before the last bytes are given: the file does not have the recorded size and hash, or cannot
    // be read, however often it is tried.
    absl::StatusOr<std::string> Next();

   private:
    friend class CheckpointFiles;
    // Fills `bytes` as far as the file goes; errno where that fails.
    int ReadChunk(std::string* bytes);
    Reader(int fd, v1::Checkpoint checkpoint) : fd_(fd), checkpoint_(std::move(checkpoint)) {}

    const int fd_;
    const v1::Checkpoint checkpoint_;
    int64_t read_bytes_ = 0;
    Sha256 hash_;
    bool ended_ = false;
  };

  // Of `checkpoint`, step, size and hash count. RESOURCE_EXHAUSTED: the disk is full, or would be
  // with this one and those under way. UNAVAILABLE: as for Read; a folder is made for the first
  // checkpoint of a job alone.
  absl::StatusOr<std::unique_ptr<Writer>> Write(const std::string& job_uid,
                                                const v1::Checkpoint& checkpoint);
  // DATA_LOSS: its file is gone, perhaps for there are newer ones, or cannot be opened, however
  // often it is tried. RESOURCE_EXHAUSTED and UNAVAILABLE say nothing of this file: the folder of
  // the job is not there either, or `directory` is another one than it was, or the disk opens
  // nothing.
  absl::StatusOr<std::unique_ptr<Reader>> Read(const std::string& job_uid,
                                               const v1::Checkpoint& checkpoint) const;

  // Nothing where it is gone already.
  void Remove(const std::string& job_uid, const v1::Checkpoint& checkpoint);
  // Moves what is damaged, or seems to be, to where nothing removes it, as Tidy does; whether it
  // did. It stays where it cannot be moved.
  bool SetAside(const std::string& job_uid, const v1::Checkpoint& checkpoint);

  // ---- At the start, before anything is written ----

  // Removes what uploads that came to nothing left behind. Needs no store.
  void RemoveUnfinished();

  struct Tidied {
    int removed = 0;
    // Moved to {directory}/unknown/{job uid}/.
    int set_aside = 0;
    // Not of our form, and left where they are; the first few by name.
    int strangers = 0;
    std::vector<std::string> stranger_names;
  };
  // Goes through the files that `snapshot` does not name. Those of its jobs, of steps before a
  // checkpoint that it names and that is there, are what a crash left: removed. Others are perhaps
  // all that is left of a job, as where an older copy of the store was put back: set aside; but
  // where there is no room, those of steps that the store has seen go too. What cannot be removed
  // or moved stays.
  enum class Room { kEnough, kNone };
  Tidied Tidy(const Snapshot& snapshot, Room room = Room::kEnough);

 private:
  // Tells a file system that is away, or came back, from a folder that is empty.
  struct Identity {
    bool operator==(const Identity& other) const {
      return device == other.device && inode == other.inode;
    }
    uint64_t device = 0;
    uint64_t inode = 0;
  };

  static Identity IdentityOf(const std::string& folder);
  // UNAVAILABLE: `directory_` is not what it was when this was made.
  absl::Status CheckThere() const;
  // `status`, of writing in `folder`; but UNAVAILABLE where that is gone, which may pass.
  absl::Status Unwritable(const std::string& folder, const absl::Status& status) const;
  absl::Status MakeJobFolder(const std::string& job_uid);
  std::string Folder(const std::string& job_uid) const;
  std::string Path(const std::string& job_uid, const v1::Checkpoint& checkpoint) const;
  absl::Status Promise(int64_t bytes);
  bool MoveAside(const std::string& job_uid, const std::string& name);

  const std::string directory_;
  DiskSpace* const space_;
  const Identity identity_;
  std::atomic<int64_t> temporaries_{0};

  std::mutex mutex_;
  // Protected by mutex_: what uploads under way have yet to write.
  int64_t promised_bytes_ = 0;
  // Protected by mutex_: uids of jobs that have, or had, a checkpoint.
  std::set<std::string> have_folders_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_CHECKPOINT_FILES_H_
