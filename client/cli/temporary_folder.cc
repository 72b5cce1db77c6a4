#include "client/cli/temporary_folder.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "spec/error.h"

namespace evograd {
namespace {

constexpr char kGuardWord[] = "--remove-when-left";
constexpr char kPrefix[] = "evograd-";
// As mkdtemp wants it.
constexpr char kPattern[] = "XXXXXX";
// What still runs in the folder is being killed.
constexpr absl::Duration kRemovalPatience = absl::Seconds(30);
constexpr int kRemovalPauseMs = 50;

// In the child, between fork and exec: async-signal-safe calls only.
void BecomeGuard(int pipe, const char* path) {
  // No Ctrl-C and no closing of the terminal is meant for it.
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(pipe, STDIN_FILENO);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, STDOUT_FILENO);
  dup2(null, STDERR_FILENO);
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  execl("/proc/self/exe", "evograd", kGuardWord, path, static_cast<char*>(nullptr));
  _exit(127);
}

// Whether the path is one that Make may have made, so that the guard's word is no way to remove
// anything else.
bool IsTemporary(const std::filesystem::path& path) {
  const std::string name = path.filename();
  absl::string_view rest = name;
  return absl::ConsumePrefix(&rest, kPrefix) && rest.size() == std::strlen(kPattern) &&
         std::all_of(rest.begin(), rest.end(), absl::ascii_isalnum);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TemporaryFolder>> TemporaryFolder::Make(const std::string& parent) {
  std::error_code error;
  const std::filesystem::path place =
      parent.empty() ? std::filesystem::temp_directory_path(error) : std::filesystem::path(parent);
  std::string path = place / absl::StrCat(kPrefix, kPattern);
  if (error || mkdtemp(&path[0]) == nullptr) {
    const std::string why = error ? error.message() : std::strerror(errno);
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     absl::StrCat("cannot make the temporary folder ", path, ": ", why,
                                  "; set TMPDIR to a folder that has room"),
                     "FOLDER_NOT_MADE", {{"path", path}});
  }
  auto folder = absl::WrapUnique(new TemporaryFolder(path));
  folder->StartGuard();
  return folder;
}

TemporaryFolder::~TemporaryFolder() {
  absl::MutexLock lock(&mutex_);
  std::error_code error;
  if (!kept_) std::filesystem::remove_all(path_, error);
  Dismiss();
}

void TemporaryFolder::StartGuard() {
  absl::MutexLock lock(&mutex_);
  int ends[2];
  // Without a guard the folder is left where the process is killed: no reason not to work.
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  guard_ = fork();
  if (guard_ == 0) BecomeGuard(ends[0], path_.c_str());
  close(ends[0]);
  if (guard_ > 0) {
    guard_pipe_ = ends[1];
  } else {
    close(ends[1]);
  }
}

void TemporaryFolder::Dismiss() {
  if (guard_pipe_ < 0) return;
  // It may have been killed: then there is nobody to read, and SIGPIPE is ignored (main.cc).
  const char word = 'k';
  while (write(guard_pipe_, &word, 1) < 0 && errno == EINTR) {
  }
  close(guard_pipe_);
  guard_pipe_ = -1;
  waitpid(guard_, nullptr, 0);
}

void TemporaryFolder::KeepIfKilled() {
  absl::MutexLock lock(&mutex_);
  Dismiss();
}

void TemporaryFolder::Keep() {
  absl::MutexLock lock(&mutex_);
  kept_ = true;
  Dismiss();
}

bool TemporaryFolder::kept() const {
  absl::MutexLock lock(&mutex_);
  return kept_;
}

bool WasGuard(int argc, char** argv) {
  if (argc != 3 || absl::string_view(argv[1]) != kGuardWord || !IsTemporary(argv[2])) {
    return false;
  }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  char word;
  ssize_t words;
  do {
    words = read(STDIN_FILENO, &word, 1);
  } while (words < 0 && errno == EINTR);
  if (words != 0) return true;
  const absl::Time deadline = absl::Now() + kRemovalPatience;
  std::error_code error;
  while (absl::Now() < deadline) {
    std::filesystem::remove_all(argv[2], error);
    if (!error) break;
    // Its ends are nobody's to wait for here.
    poll(nullptr, 0, kRemovalPauseMs);
  }
  return true;
}

}  // namespace evograd
