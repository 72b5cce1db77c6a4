// A temporary folder that goes with the process, however that ends: kill -9, a second Ctrl-C and a
// closed pipe included.
//
//   EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<TemporaryFolder> folder, TemporaryFolder::Make());
//   ... folder->path() ...
//   folder->Keep();  // where it has become worth something
//
// A second process of this program, the guard, waits for the end of the first one and removes what
// that left; children of the first one die with it (client/lib/child_process.h).
//
// Threads: any.
#ifndef EVOGRAD_CLIENT_CLI_TEMPORARY_FOLDER_H_
#define EVOGRAD_CLIENT_CLI_TEMPORARY_FOLDER_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace evograd {

class TemporaryFolder {
 public:
  // In `parent`; empty: in $TMPDIR, else /tmp. FAILED_PRECONDITION: it cannot be made there.
  static absl::StatusOr<std::unique_ptr<TemporaryFolder>> Make(const std::string& parent = "");
  // Removes it unless it is kept.
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

  // From now on it stays when the process is killed; the destructor still removes it.
  void KeepIfKilled();
  // From now on it stays.
  void Keep();
  bool kept() const;

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  void StartGuard();
  void Dismiss() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  mutable absl::Mutex mutex_;
  bool kept_ ABSL_GUARDED_BY(mutex_) = false;
  // The guard acts when this end of its pipe is closed without a word. -1: there is no guard.
  int guard_pipe_ ABSL_GUARDED_BY(mutex_) = -1;
  pid_t guard_ ABSL_GUARDED_BY(mutex_) = -1;
};

// First thing in main: where the words ask for a guard, is one and answers true when it is done.
bool WasGuard(int argc, char** argv);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_TEMPORARY_FOLDER_H_
