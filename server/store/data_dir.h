// The coordinator's data directory, owned by one process at a time:
//
//   lock              held exclusively while the coordinator runs; holds its process id
//   store.sqlite      jobs, steps, events (store.h)
//   checkpoints/      {job uid}/{step}-{hash} (checkpoint_files.h)
//   .evograd-reserve  room for the store on a full disk (disk_space.h)
//
// What else lies there is nobody's business here, and is left as it is.
#ifndef EVOGRAD_SERVER_STORE_DATA_DIR_H_
#define EVOGRAD_SERVER_STORE_DATA_DIR_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/data_folder.h"

namespace evograd {

class DataDir {
 public:
  // Creates the directory where it is missing, for its owner alone. FAILED_PRECONDITION: another
  // process holds it, it holds things that are not a coordinator's (common/data_folder.h), its file
  // system has no locks, or it cannot be created or written; DATA_LOSS: its store is damaged. In
  // all these cases nothing that was there has changed.
  static absl::StatusOr<std::unique_ptr<DataDir>> Lock(const std::string& path);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string store_path() const { return path_ + "/" + kStoreName; }
  std::string checkpoints_path() const { return path_ + "/" + kCheckpointsName; }

 private:
  DataDir(std::string path, int lock_fd, int folder_fd)
      : path_(std::move(path)), lock_fd_(lock_fd), folder_fd_(folder_fd) {}

  const std::string path_;
  const int lock_fd_;
  // Its lock holds when somebody removes the other's file; -1 where folders cannot be locked.
  const int folder_fd_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_DATA_DIR_H_
