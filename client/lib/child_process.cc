#include "client/lib/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

absl::Status NotStarted(const std::string& path, int error) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("cannot start or log to ", path, ": ", std::strerror(error)),
                   "PROGRAM_NOT_STARTED", {{"path", path}});
}

// In the child, between fork and exec: async-signal-safe calls only. Returns only on failure.
void BecomeProgram(char* const* arguments, int output, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before the line above
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGINT, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  // Whatever other libraries opened is none of its business.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(arguments[0], arguments);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command, const std::string& output_path) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int output = open(output_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) return NotStarted(output_path, errno);
  // Closed by a successful exec; else brings its errno.
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) != 0) {
    close(output);
    return NotStarted(command[0], errno);
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    BecomeProgram(arguments.data(), output, parent);
    const int error = errno;
    if (write(failure[1], &error, sizeof(error)) < 0) _exit(126);
    _exit(127);
  }
  const int fork_error = errno;
  close(output);
  close(failure[1]);
  int error = pid < 0 ? fork_error : 0;
  if (pid > 0 && read(failure[0], &error, sizeof(error)) != sizeof(error)) error = 0;
  close(failure[0]);
  if (error != 0) {
    if (pid > 0) waitpid(pid, nullptr, 0);
    return NotStarted(command[0], error);
  }
  // The header of glibc 2.36 is no C++.
  const int pid_fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  EVOGRAD_CHECK(pid_fd >= 0, "Linux 5.3 has pidfd_open, and the child is not reaped");
  return absl::WrapUnique(new ChildProcess(pid, pid_fd));
}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  WaitForEnd(absl::InfiniteDuration());
  close(pid_fd_);
}

bool ChildProcess::WaitForEnd(absl::Duration timeout) {
  if (ended_) return true;
  pollfd ended = {pid_fd_, POLLIN, 0};
  const int timeout_ms = timeout == absl::InfiniteDuration()
                             ? -1
                             : static_cast<int>(absl::ToInt64Milliseconds(timeout));
  int ready;
  do {
    ready = poll(&ended, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return false;
  ended_ = waitpid(pid_, &wait_status_, 0) == pid_;
  return ended_;
}

void ChildProcess::Signal(int signal) {
  if (!ended_) kill(pid_, signal);
}

std::string ChildProcess::Ending() const {
  if (WIFSIGNALED(wait_status_)) {
    const int signal = WTERMSIG(wait_status_);
    return absl::StrCat("was killed by signal ", signal, " (", strsignal(signal), ")");
  }
  return absl::StrCat("ended with exit code ", WEXITSTATUS(wait_status_));
}

bool ChildProcess::killed_by_signal() const { return ended_ && WIFSIGNALED(wait_status_); }

bool ChildProcess::succeeded() const {
  return ended_ && WIFEXITED(wait_status_) && WEXITSTATUS(wait_status_) == 0;
}

std::string LastLines(const std::string& path, int lines) {
  constexpr std::streamoff kMaxBytes = 8192;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  const std::streamoff size = file.tellg();
  const std::streamoff start = std::max<std::streamoff>(0, size - kMaxBytes);
  std::string text(size - start, '\0');
  file.seekg(start);
  file.read(&text[0], text.size());
  std::vector<absl::string_view> all = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  const size_t first = all.size() > static_cast<size_t>(lines) ? all.size() - lines : 0;
  std::string result;
  for (size_t i = first; i < all.size(); ++i) absl::StrAppend(&result, "  ", all[i], "\n");
  return result;
}

}  // namespace evograd
