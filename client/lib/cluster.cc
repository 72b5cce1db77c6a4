#include "client/lib/cluster.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

constexpr int kQuotedLines = 15;
// SQLite may have to recover a large log first.
constexpr absl::Duration kStartPatience = absl::Seconds(60);
// What a worker's longest kernel and a coordinator's last write may take.
constexpr absl::Duration kStopPatience = absl::Seconds(5);

absl::Status Failure(const std::string& message) {
  return MakeError(absl::StatusCode::kAborted, message, "LOCAL_CLUSTER_FAILED");
}

std::string ReadTrimmed(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return std::string(absl::StripAsciiWhitespace(text));
}

// "host" and "port" of "host:port".
std::pair<std::string, std::string> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  return {address.substr(0, colon), address.substr(colon + 1)};
}

// Where a listener on all interfaces is reached from this machine.
std::string LocalAddress(const std::string& listening) {
  const auto [host, port] = SplitAddress(listening);
  const bool any = host == "0.0.0.0" || host == "[::]" || host == "::";
  return absl::StrCat(any ? "127.0.0.1" : host, ":", port);
}

}  // namespace

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  std::vector<std::string> folders;
  if (const char* folder = std::getenv("EVOGRAD_BIN_DIR")) {
    folders.push_back(folder);
  } else {
    std::error_code error;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
    const std::filesystem::path here = self.parent_path();
    // Installed side by side; Bazel's folders, for a program at client/cli, tests/cli or the like.
    const std::string bazel = name == "coordinator" ? "server" : name;
    for (const char* up : {".", "..", "../.."}) folders.push_back((here / up).lexically_normal());
    folders.push_back((here / "../.." / bazel).lexically_normal());
  }
  for (const std::string& folder : folders) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0) {
      return path.string();
    }
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("the program `", name, "` is in none of ", absl::StrJoin(folders, ", "),
                   "; set EVOGRAD_BIN_DIR to the folder that has `coordinator` and `worker`"),
      "PROGRAM_NOT_FOUND", {{"program", name}});
}

int CountGpus() {
  int devices = 0;
  std::error_code error;
  while (std::filesystem::exists(absl::StrCat("/dev/nvidia", devices), error)) ++devices;
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr || devices == 0) return devices;
  const std::vector<std::string> names = absl::StrSplit(visible, ',', absl::SkipWhitespace());
  if (!names.empty() && names[0] == "-1") return 0;
  return static_cast<int>(names.size());
}

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)) {}

Cluster::~Cluster() { Stop(); }

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(ClusterOptions options) {
  auto cluster = absl::WrapUnique(new Cluster(std::move(options)));
  EVOGRAD_ASSIGN_OR_RETURN(cluster->coordinator_path_, FindProgram("coordinator"));
  EVOGRAD_ASSIGN_OR_RETURN(cluster->worker_path_, FindProgram("worker"));
  EVOGRAD_RETURN_IF_ERROR(cluster->MakeFolders());
  EVOGRAD_RETURN_IF_ERROR(cluster->StartCoordinator(cluster->options_.listen));
  EVOGRAD_RETURN_IF_ERROR(cluster->WaitForAddress());
  if (cluster->options_.device == "auto" && CountGpus() >= cluster->options_.workers) {
    cluster->gpus_ = cluster->options_.workers;
  }
  for (int i = 0; i < cluster->options_.workers; ++i) {
    Program worker;
    EVOGRAD_RETURN_IF_ERROR(cluster->StartWorker(i, &worker));
    cluster->programs_.push_back(std::move(worker));
  }
  cluster->stop_fd_ = eventfd(0, EFD_CLOEXEC);
  EVOGRAD_CHECK(cluster->stop_fd_ >= 0, "a process may open one file more");
  cluster->monitor_ = std::thread([raw = cluster.get()] { raw->Monitor(); });
  return cluster;
}

absl::Status Cluster::MakeFolders() {
  std::error_code error;
  if (options_.data_dir.empty()) {
    std::string name = std::filesystem::temp_directory_path(error) / "evograd-XXXXXX";
    if (error || mkdtemp(&name[0]) == nullptr) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition,
          absl::StrCat("cannot make the temporary folder ", name, ": ", std::strerror(errno)),
          "FOLDER_NOT_MADE", {{"path", name}});
    }
    data_dir_ = name;
    temporary_ = true;
  } else {
    data_dir_ = std::filesystem::absolute(options_.data_dir, error);
    // Jobs and checkpoints are their owner's alone.
    if (std::filesystem::create_directories(data_dir_, error)) {
      std::filesystem::permissions(data_dir_, std::filesystem::perms::owner_all, error);
    }
  }
  std::filesystem::create_directories(log_dir(), error);
  if (!error) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("cannot make the folder ", log_dir(), ": ", error.message()),
                   "FOLDER_NOT_MADE", {{"path", log_dir()}});
}

std::string Cluster::LogPath(const Program& program) const {
  return absl::StrCat(log_dir(), "/", program.name, ".log");
}

absl::Status Cluster::StartCoordinator(const std::string& listen) {
  const std::string port_file = data_dir_ + "/address";
  unlink(port_file.c_str());
  Program program;
  program.name = "coordinator";
  std::vector<std::string> command = {coordinator_path_, "--data_dir=" + data_dir_,
                                      "--listen=" + listen, "--port_file=" + port_file};
  if (options_.insecure) command.push_back("--insecure");
  EVOGRAD_ASSIGN_OR_RETURN(program.process, ChildProcess::Start(command, LogPath(program)));
  if (programs_.empty()) {
    programs_.push_back(std::move(program));
  } else {
    programs_.front() = std::move(program);
  }
  return absl::OkStatus();
}

absl::Status Cluster::WaitForAddress() {
  Program& coordinator = programs_.front();
  const absl::Time deadline = absl::Now() + kStartPatience;
  while (true) {
    const std::string text = ReadTrimmed(data_dir_ + "/address");
    if (!text.empty()) {
      address_ = LocalAddress(text);
      return absl::OkStatus();
    }
    if (coordinator.process->WaitForEnd(absl::Milliseconds(10))) {
      return Failure(absl::StrCat("the coordinator ", coordinator.process->Ending(), "; it said:\n",
                                  LastLines(LogPath(coordinator), kQuotedLines)));
    }
    if (absl::Now() > deadline) {
      return Failure(absl::StrCat("the coordinator did not begin to listen within ",
                                  absl::FormatDuration(kStartPatience), "; its log is ",
                                  LogPath(coordinator)));
    }
  }
}

absl::Status Cluster::StartWorker(int index, Program* program) {
  // A name of its own for each process: the coordinator may not have seen the end of the one
  // before.
  program->name = absl::StrCat("local-", next_worker_++);
  std::string device = options_.device;
  if (device == "auto") device = index < gpus_ ? absl::StrCat("cuda:", index) : "cpu";
  std::vector<std::string> command = {worker_path_, "--coordinator=" + address_,
                                      "--worker_id=" + program->name, "--device=" + device};
  // Where nobody else can join, workers need not know what this host is called.
  if (absl::StartsWith(options_.listen, "127.0.0.1:"))
    command.push_back("--interface_address=127.0.0.1");
  EVOGRAD_ASSIGN_OR_RETURN(program->process, ChildProcess::Start(command, LogPath(*program)));
  return absl::OkStatus();
}

absl::Status Cluster::Revive(Program* program) {
  const std::string what = absl::StrCat(
      program == &programs_.front() ? "the coordinator" : "worker ",
      program == &programs_.front() ? "" : program->name, " ", program->process->Ending());
  const std::string said = LastLines(LogPath(*program), kQuotedLines);
  const std::string quote = said.empty() ? "; it said nothing" : absl::StrCat("; it said:\n", said);
  if (!program->process->killed_by_signal()) return Failure(what + quote);
  if (++restarts_ > limits::kMaxLocalRestarts) {
    return Failure(absl::StrCat(what, ", after ", limits::kMaxLocalRestarts, " restarts", quote));
  }
  const std::string old_name = program->name;
  if (program == &programs_.front()) {
    EVOGRAD_RETURN_IF_ERROR(StartCoordinator(
        absl::StrCat(SplitAddress(options_.listen).first, ":", SplitAddress(address_).second)));
  } else {
    EVOGRAD_RETURN_IF_ERROR(StartWorker(static_cast<int>(program - &programs_[1]), program));
  }
  if (options_.on_notice) {
    const bool renamed = old_name != program->name;
    options_.on_notice(
        absl::StrCat(what, renamed ? absl::StrCat("; ", program->name, " takes its place")
                                   : "; it was started again"));
  }
  return absl::OkStatus();
}

void Cluster::Monitor() {
  bool failed = false;
  while (true) {
    std::vector<pollfd> ends = {{stop_fd_, POLLIN, 0}};
    // After a failure there is only Stop to wait for.
    for (size_t i = 0; !failed && i < programs_.size(); ++i) {
      ends.push_back({programs_[i].process->ended_fd(), POLLIN, 0});
    }
    if (poll(ends.data(), ends.size(), -1) < 0) continue;  // EINTR
    if (ends[0].revents != 0) break;
    for (Program& program : programs_) {
      if (failed || !program.process->WaitForEnd(absl::ZeroDuration())) continue;
      const absl::Status status = Revive(&program);
      failed = !status.ok();
      if (failed && options_.on_failure) options_.on_failure(status);
    }
  }
  // Here, because what this thread started dies with it.
  EndPrograms();
}

void Cluster::EndPrograms() {
  const auto end = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) programs_[i].process->Signal(SIGTERM);
    const absl::Time deadline = absl::Now() + kStopPatience;
    for (size_t i = from; i < to; ++i) {
      programs_[i].process->WaitForEnd(std::max(absl::ZeroDuration(), deadline - absl::Now()));
    }
  };
  if (programs_.empty()) return;
  // Workers first, so that none sees its coordinator go. What is left then, the destructor kills.
  end(1, programs_.size());
  end(0, 1);
  programs_.clear();
}

void Cluster::Stop() {
  if (monitor_.joinable()) {
    const uint64_t one = 1;
    EVOGRAD_CHECK(write(stop_fd_, &one, sizeof(one)) == sizeof(one),
                  "an eventfd takes a small number");
    monitor_.join();
    close(stop_fd_);
  }
  EndPrograms();
  if (temporary_) {
    std::error_code error;
    std::filesystem::remove_all(data_dir_, error);
    temporary_ = false;
  }
}

}  // namespace evograd
