// The coordinator's data directory, owned by one process at a time:
//
//   lock          held exclusively while the coordinator runs; holds its process id
//   store.sqlite  jobs, steps, events (store.h)
//   checkpoints/  {job uid}/{step}-{hash} (checkpoint_files.h)
#ifndef EVOGRAD_SERVER_STORE_DATA_DIR_H_
#define EVOGRAD_SERVER_STORE_DATA_DIR_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

class DataDir {
 public:
  // Creates the directory where it is missing, for its owner alone. FAILED_PRECONDITION: another
  // process holds it, or it cannot be created or written.
  static absl::StatusOr<std::unique_ptr<DataDir>> Lock(const std::string& path);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string store_path() const { return path_ + "/store.sqlite"; }
  std::string checkpoints_path() const { return path_ + "/checkpoints"; }

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  const std::string path_;
  const int lock_fd_;
};

// Creates `path` and its parents, mode 0700, and makes their names durable.
absl::Status MakeDirectories(const std::string& path);
// What was created in or renamed into the directory is durable.
absl::Status SyncDirectory(const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_DATA_DIR_H_
