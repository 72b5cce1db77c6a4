#include "bench/programs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace evograd::bench {

void Die(const std::string& what) {
  std::fprintf(stderr, "benchmark: %s\n", what.c_str());
  std::exit(1);
}

void Pause(double seconds) {
  const auto whole = static_cast<time_t>(seconds);
  const timespec pause{whole, static_cast<int64_t>((seconds - static_cast<double>(whole)) * 1e9)};
  nanosleep(&pause, nullptr);
}

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(values.size() - 1, at)];
}

TemporaryFolder::TemporaryFolder() {
  path_ = std::filesystem::temp_directory_path() / "evograd-bench-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) Die("cannot make a temporary folder");
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Program::Program(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) Die("cannot start " + command.front());
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(arguments[0], arguments.data());
  _exit(127);
}

Program::~Program() { Kill(); }

bool Program::Runs() const {
  siginfo_t end = {};
  return pid_ > 0 &&
         waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         end.si_pid == 0;
}

void Program::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Coordinator::Coordinator(std::string program, std::string folder)
    : program_(std::move(program)), folder_(std::move(folder)) {
  Start("127.0.0.1:0");
}

void Coordinator::Start(const std::string& listen) {
  const std::string port_file = absl::StrCat(folder_, "/port-", ++starts_);
  process_ = std::make_unique<Program>(
      std::vector<std::string>{program_, "--data_dir=" + folder_ + "/data", "--listen=" + listen,
                               "--port_file=" + port_file},
      folder_ + "/coordinator.log");
  address_.clear();
  while (address_.empty()) {
    if (!process_->Runs()) Die(program_ + " ended at once; is it there?");
    Pause(0.002);
    std::ifstream file(port_file);
    std::getline(file, address_);
  }
}

void Coordinator::Kill() { process_->Kill(); }

void Coordinator::StartAgain() { Start(std::string(address_)); }

}  // namespace evograd::bench
