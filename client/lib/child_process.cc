#include "client/lib/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

// Of an output, what may be quoted.
constexpr int64_t kMaxQuotedBytes = 8192;

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
  // Of this program's own making; what it was told to ignore, its children ignore too.
  signal(SIGPIPE, SIG_DFL);
  // Whatever other libraries opened is none of its business.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(arguments[0], arguments);
}

// The end of what lies between `start` and the end of the file.
std::string QuoteEnd(int fd, int64_t start, int lines) {
  const int64_t size = lseek(fd, 0, SEEK_END);
  start = std::max(start, size - kMaxQuotedBytes);
  if (size <= start) return "";
  std::string text(static_cast<size_t>(size - start), '\0');
  const ssize_t got = pread(fd, &text[0], text.size(), start);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  const std::vector<absl::string_view> all = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  const size_t first = all.size() > static_cast<size_t>(lines) ? all.size() - lines : 0;
  std::string result;
  for (size_t i = first; i < all.size(); ++i) absl::StrAppend(&result, "  ", all[i], "\n");
  return result;
}

}  // namespace

ChildProcess::Output ChildProcess::OpenOutput(const std::string& path) {
  Output output;
  output.fd = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (output.fd < 0) return output;
  output.start = lseek(output.fd, 0, SEEK_END);
  // Room for its last words, which may be that the disk is full.
  const int result =
      fallocate(output.fd, FALLOC_FL_KEEP_SIZE, output.start, static_cast<off_t>(kMaxQuotedBytes));
  if (result == 0 || (errno != ENOSPC && errno != EDQUOT)) return output;
  const int memory = memfd_create("output", MFD_CLOEXEC);
  if (memory < 0) return output;
  close(output.fd);
  fcntl(memory, F_SETFL, O_APPEND);
  return {memory, 0};
}

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command, const std::string& output_path) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const Output output = OpenOutput(output_path);
  if (output.fd < 0) return NotStarted(output_path, errno);
  // Closed by a successful exec; else brings its errno.
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) != 0) {
    const int error = errno;
    close(output.fd);
    return NotStarted(command[0], error);
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    BecomeProgram(arguments.data(), output.fd, parent);
    const int error = errno;
    if (write(failure[1], &error, sizeof(error)) < 0) _exit(126);
    _exit(127);
  }
  const int fork_error = errno;
  close(failure[1]);
  int error = pid < 0 ? fork_error : 0;
  if (pid > 0 && read(failure[0], &error, sizeof(error)) != sizeof(error)) error = 0;
  close(failure[0]);
  if (error != 0) {
    if (pid > 0) waitpid(pid, nullptr, 0);
    close(output.fd);
    return NotStarted(command[0], error);
  }
  // The header of glibc 2.36 is no C++.
  const int pid_fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pid_fd < 0) {
    const int open_error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    close(output.fd);
    return NotStarted(command[0], open_error);
  }
  return absl::WrapUnique(new ChildProcess(pid, pid_fd, output));
}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  WaitForEnd(absl::InfiniteDuration());
  close(pid_fd_);
  close(output_.fd);
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

int ChildProcess::exit_code() const {
  return ended_ && WIFEXITED(wait_status_) ? WEXITSTATUS(wait_status_) : -1;
}

std::string ChildProcess::LastOutput(int lines) const {
  return QuoteEnd(output_.fd, output_.start, lines);
}

bool ChildProcess::succeeded() const {
  return ended_ && WIFEXITED(wait_status_) && WEXITSTATUS(wait_status_) == 0;
}

}  // namespace evograd
