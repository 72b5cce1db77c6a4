// A program run as a child process whose output goes to a file. It dies with the thread that
// started it (so keep that thread as long as the child), and a Ctrl-C at the terminal does not
// reach it.
//
// Threads: one at a time; `Start` from a thread that outlives the child.
#ifndef EVOGRAD_CLIENT_LIB_CHILD_PROCESS_H_
#define EVOGRAD_CLIENT_LIB_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace evograd {

class ChildProcess {
 public:
  // Runs command[0] with the other words as its arguments; both outputs are appended to
  // `output_path`. FAILED_PRECONDITION: the program or the file cannot be opened.
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

  // Of an ended one: "ended with exit code 3", "was killed by signal 9 (Killed)".
  std::string Ending() const;
  bool killed_by_signal() const;
  bool succeeded() const;
  pid_t pid() const { return pid_; }
  // Readable (poll) when it has ended.
  int ended_fd() const { return pid_fd_; }

 private:
  ChildProcess(pid_t pid, int pid_fd) : pid_(pid), pid_fd_(pid_fd) {}

  const pid_t pid_;
  const int pid_fd_;
  bool ended_ = false;
  int wait_status_ = 0;
};

// The end of a text file: at most `lines` lines and 8 KiB, each line indented by two spaces; empty
// where there is none.
std::string LastLines(const std::string& path, int lines);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_CHILD_PROCESS_H_
