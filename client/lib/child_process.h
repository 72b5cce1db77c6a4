// A program run as a child process whose output goes to a file. It dies with the thread that
// started it (so keep that thread as long as the child), and a Ctrl-C at the terminal does not
// reach it.
//
// Threads: one at a time; `Start` from a thread that outlives the child.
#ifndef EVOGRAD_CLIENT_LIB_CHILD_PROCESS_H_
#define EVOGRAD_CLIENT_LIB_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace evograd {

class ChildProcess {
 public:
  // Runs command[0] with the other words as its arguments; both outputs are appended to
  // `output_path`, which is its owner's alone, or kept in memory where the disk has no room for a
  // few lines. FAILED_PRECONDITION: the program or the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::vector<std::string>& command, const std::string& output_path);
  // Kills it where it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Waits for the end, at most `timeout`; whether it has ended.
  bool WaitForEnd(absl::Duration timeout);
  // Nothing where it has ended.
  void Signal(int signal);

  // The end of what this process has written: at most `lines` lines and 8 KiB, each line indented
  // by two spaces.
  std::string LastOutput(int lines) const;

  // Of an ended one: "ended with exit code 3", "was killed by signal 9 (Killed)".
  std::string Ending() const;
  bool killed_by_signal() const;
  // -1 where it has not ended, or not by itself.
  int exit_code() const;
  bool succeeded() const;
  pid_t pid() const { return pid_; }
  // Readable (poll) when it has ended.
  int ended_fd() const { return pid_fd_; }

 private:
  // A file and what was in it before.
  struct Output {
    int fd = -1;
    int64_t start = 0;
  };

  ChildProcess(pid_t pid, int pid_fd, Output output)
      : pid_(pid), pid_fd_(pid_fd), output_(output) {}
  // fd is -1 where the file cannot be opened; errno says why.
  static Output OpenOutput(const std::string& path);

  const pid_t pid_;
  const int pid_fd_;
  const Output output_;
  bool ended_ = false;
  int wait_status_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_CHILD_PROCESS_H_
