#include "tests/e2e/stopped_thread.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace evograd::e2e {

StoppedThread::StoppedThread(pid_t tid) : tid_(tid) {
  stopped_ = ptrace(PTRACE_SEIZE, tid_, 0, 0) == 0 && ptrace(PTRACE_INTERRUPT, tid_, 0, 0) == 0 &&
             waitpid(tid_, nullptr, __WALL) == tid_;
}

StoppedThread::~StoppedThread() {
  if (stopped_) ptrace(PTRACE_DETACH, tid_, 0, 0);
}

pid_t ThreadOf(pid_t pid, const std::string& name) {
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"))) {
    std::ifstream comm(entry.path() / "comm");
    std::string line;
    pid_t tid = 0;
    if (std::getline(comm, line) && line == name &&
        absl::SimpleAtoi(entry.path().filename().string(), &tid)) {
      return tid;
    }
  }
  return 0;
}

}  // namespace evograd::e2e
