// The coordinator's program: flags, signals, and one CoordinatorServer.
//
//   coordinator --data_dir=/var/lib/evograd --listen=127.0.0.1:7070
//
// It prints one line when it serves. SIGTERM, SIGINT and SIGHUP end it cleanly; kill -9 at any
// moment loses nothing that was answered. Exit codes: 0 asked to stop; 1 it could not start, or
// could not go on; 2 wrong flags.

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/coordinator_server.h"

ABSL_FLAG(std::string, data_dir, "", "where jobs, steps and checkpoints are kept; required");
ABSL_FLAG(std::string, listen, "127.0.0.1:7070",
          "host:port to serve on; port 0 takes a free one; or unix:/PATH, for this user alone");
ABSL_FLAG(std::string, port_file, "", "a file to which the address is written once it serves");
ABSL_FLAG(bool, insecure, false, "serve other machines without encryption and authentication");
ABSL_FLAG(bool, parent_death_signal, false, "end when the starting process ends");

namespace evograd {
namespace {

// Signals and failures reach the main thread through this pipe; a byte says which.
int wake_pipe[2];

void Wake(char why) {
  const int saved = errno;
  // A full pipe has woken it already.
  if (write(wake_pipe[1], &why, 1) < 0) errno = saved;
  errno = saved;
}

void OnSignal(int) { Wake('s'); }

int Complain(const absl::Status& status, int code) {
  std::fprintf(stderr, "coordinator: %s\n", std::string(status.message()).c_str());
  return code;
}

absl::Status DieWithParent() {
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) return absl::InternalError(std::strerror(errno));
  // It may have ended before the call: then no signal comes.
  if (getppid() != parent) return absl::AbortedError("the starting process has ended");
  return absl::OkStatus();
}

absl::Status HandleSignals() {
  if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
    return absl::InternalError(std::strerror(errno));
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    struct sigaction before;
    // Whoever ignores it (nohup; a shell, for what it starts with &) wants it to change nothing.
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    if (sigaction(signal, &action, nullptr) != 0) return absl::InternalError(std::strerror(errno));
  }
  signal(SIGPIPE, SIG_IGN);
  return absl::OkStatus();
}

// Each worker, watcher and transfer holds a file open; the usual bound of 1024 is for select(2),
// which is not used here.
void AllowManyFiles() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

// Whole or not at all: whoever reads it does not see half an address.
absl::Status WritePortFile(const std::string& path, const std::string& address) {
  const std::string temporary = absl::StrCat(path, ".", getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "we");
  bool written = file != nullptr && std::fprintf(file, "%s\n", address.c_str()) > 0;
  if (file != nullptr && std::fclose(file) != 0) written = false;
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const std::string why = std::strerror(errno);
  unlink(temporary.c_str());
  return absl::FailedPreconditionError(absl::StrCat("cannot write --port_file=", path, ": ", why));
}

// 's' or 'f', whichever came first.
char WaitForWake() {
  pollfd event = {wake_pipe[0], POLLIN, 0};
  char why = 0;
  while (read(wake_pipe[0], &why, 1) != 1) poll(&event, 1, -1);
  return why;
}

int Run() {
  CoordinatorOptions options;
  options.data_dir = absl::GetFlag(FLAGS_data_dir);
  options.listen = absl::GetFlag(FLAGS_listen);
  options.insecure = absl::GetFlag(FLAGS_insecure);
  options.on_notice = [](const std::string& notice) {
    std::fprintf(stderr, "coordinator: %s\n", notice.c_str());
  };
  options.on_failure = [](const absl::Status& status) {
    Complain(status, 1);
    Wake('f');
  };
  if (options.data_dir.empty()) {
    return Complain(
        absl::InvalidArgumentError("--data_dir is missing: say where jobs are to be kept"), 2);
  }
  if (const absl::Status status = CheckListenAddress(options.listen, options.insecure);
      !status.ok()) {
    return Complain(absl::InvalidArgumentError(absl::StrCat("--listen: ", status.message())), 2);
  }
  if (absl::GetFlag(FLAGS_parent_death_signal)) {
    if (const absl::Status status = DieWithParent(); !status.ok()) return Complain(status, 1);
  }
  if (const absl::Status status = HandleSignals(); !status.ok()) return Complain(status, 1);
  AllowManyFiles();
  absl::StatusOr<std::unique_ptr<CoordinatorServer>> server = CoordinatorServer::Start(options);
  if (!server.ok()) return Complain(server.status(), 1);
  const std::string address = (*server)->address();
  if (const std::string file = absl::GetFlag(FLAGS_port_file); !file.empty()) {
    if (const absl::Status status = WritePortFile(file, address); !status.ok())
      return Complain(status, 1);
  }
  std::printf("coordinator listening on %s, data in %s\n", address.c_str(),
              options.data_dir.c_str());
  std::fflush(stdout);
  const char why = WaitForWake();
  (*server)->Stop();
  return why == 's' ? 0 : 1;
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "EvoGrad's coordinator: keeps jobs and gives them to workers.\n"
      "  coordinator --data_dir=DIR [--listen=HOST:PORT|unix:/PATH]");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::fprintf(stderr, "coordinator: unexpected argument `%s`; see --help\n", rest[1]);
    return 2;
  }
  return evograd::Run();
}
