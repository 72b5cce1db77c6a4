#include "client/lib/cluster.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
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
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/data_folder.h"
#include "common/folders.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"
#include "spec/error.h"

namespace evograd {
namespace {

constexpr int kQuotedLines = 15;
// The coordinator reads its whole store first, and may have to wait for another program's lock.
constexpr absl::Duration kStartPatience = absl::Milliseconds(120'000 + limits::kStoreBusyMs);
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

// What a program said last, to stand behind how it ended.
std::string Said(const ChildProcess& process) {
  const std::string lines = process.LastOutput(kQuotedLines);
  return lines.empty() ? "; it said nothing" : absl::StrCat("; it said:\n", lines);
}

// Whether some process has a socket of that name, be its file there or not.
bool IsListenedAt(const std::string& path) {
  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    if (absl::EndsWith(line, " " + path)) return true;
  }
  return false;
}

// Where a listener on all interfaces is reached from this machine.
std::string LocalAddress(const std::string& listening) {
  if (IsUnixAddress(listening)) return listening;
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
  cluster->programs_.emplace_back();
  Program& coordinator = cluster->programs_.front();
  EVOGRAD_RETURN_IF_ERROR(cluster->StartCoordinator(cluster->options_.listen, &coordinator));
  EVOGRAD_RETURN_IF_ERROR(cluster->WaitForAddress());
  coordinator.proven = true;
  if (cluster->options_.device == "auto" && CountGpus() >= cluster->options_.workers) {
    cluster->gpus_ = cluster->options_.workers;
  }
  for (int i = 0; i < cluster->options_.workers; ++i) {
    Program worker;
    EVOGRAD_RETURN_IF_ERROR(cluster->StartWorker(i, &worker));
    cluster->programs_.push_back(std::move(worker));
  }
  cluster->stop_fd_ = eventfd(0, EFD_CLOEXEC);
  if (cluster->stop_fd_ < 0) {
    return Failure(absl::StrCat("the programs cannot be looked after: ", std::strerror(errno)));
  }
  cluster->monitor_ = std::thread([raw = cluster.get()] { raw->Monitor(); });
  return cluster;
}

absl::Status Cluster::MakeFolders() {
  if (options_.data_dir.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "the folder for the data has no name",
                     "FOLDER_NOT_USABLE", {{"path", ""}});
  }
  std::error_code error;
  data_dir_ = std::filesystem::absolute(options_.data_dir, error);
  // Before anything is put there.
  if (const absl::Status status = CheckDataFolder(data_dir_); !status.ok()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, std::string(status.message()),
                     "FOLDER_NOT_USABLE", {{"path", data_dir_}});
  }
  const absl::Status made = evograd::MakeFolders(log_dir());
  if (made.ok()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("cannot make the folder ", log_dir(), ": ", made.message()),
                   "FOLDER_NOT_MADE", {{"path", log_dir()}});
}

std::string Cluster::AddressPath() const { return absl::StrCat(data_dir_, "/", kAddressName); }

std::string Cluster::OwnAddressPath() const { return absl::StrCat(AddressPath(), ".", getpid()); }

std::string Cluster::LogPath(const std::string& name) const {
  return absl::StrCat(log_dir(), "/", name, ".log");
}

std::string Cluster::Title(const Program& program) const {
  return &program == &programs_.front() ? "the coordinator" : "worker " + program.name;
}

absl::Status Cluster::StartCoordinator(const std::string& listen, Program* program) {
  // Until it listens the folder may be another cluster's, whose address stays as it is.
  const std::string port_file = address_.empty() ? OwnAddressPath() : AddressPath();
  if (address_.empty()) unlink(port_file.c_str());
  program->name = "coordinator";
  std::vector<std::string> command = {coordinator_path_, "--data_dir=" + data_dir_,
                                      "--listen=" + listen, "--port_file=" + port_file};
  if (options_.insecure) command.push_back("--insecure");
  EVOGRAD_ASSIGN_OR_RETURN(program->process, ChildProcess::Start(command, LogPath(program->name)));
  program->started = absl::Now();
  return absl::OkStatus();
}

absl::Status Cluster::WaitForAddress() {
  Program& coordinator = programs_.front();
  const absl::Time deadline = absl::Now() + kStartPatience;
  while (true) {
    const std::string text = ReadTrimmed(OwnAddressPath());
    if (!text.empty()) {
      if (rename(OwnAddressPath().c_str(), AddressPath().c_str()) != 0) {
        return Failure(absl::StrCat("cannot write ", AddressPath(), ": ", std::strerror(errno)));
      }
      address_ = LocalAddress(text);
      return absl::OkStatus();
    }
    if (coordinator.process->WaitForEnd(absl::Milliseconds(10))) {
      return Failure(absl::StrCat("the coordinator ", coordinator.process->Ending(),
                                  Said(*coordinator.process)));
    }
    if (absl::Now() > deadline) {
      return Failure(absl::StrCat("the coordinator did not begin to listen within ",
                                  absl::FormatDuration(kStartPatience), "; its log is ",
                                  LogPath(coordinator.name), Said(*coordinator.process)));
    }
  }
}

absl::Status Cluster::StartWorker(int index, Program* program) {
  // A name of its own for each process: the coordinator may not have seen the end of the one
  // before.
  const std::string name = absl::StrCat("local-", next_worker_);
  std::string device = options_.device;
  if (device == "auto") device = index < gpus_ ? absl::StrCat("cuda:", index) : "cpu";
  const std::vector<std::string> command = {worker_path_, "--coordinator=" + address_,
                                            "--worker_id=" + name, "--device=" + device};
  EVOGRAD_ASSIGN_OR_RETURN(program->process, ChildProcess::Start(command, LogPath(name)));
  program->name = name;
  ++next_worker_;
  program->started = absl::Now();
  return absl::OkStatus();
}

absl::Status Cluster::OnEnd(Program* program) {
  const ChildProcess& process = *program->process;
  const std::string what = absl::StrCat(Title(*program), " ", process.Ending());
  const std::string said = Said(process);
  const bool settled = absl::Now() - program->started >= options_.settled_after;
  program->proven = program->proven || settled;
  // Told to by somebody else's SIGTERM (0), or where it could not go on (1).
  const bool orderly = process.exit_code() == 0 || process.exit_code() == 1;
  const bool restarts = process.killed_by_signal() || (orderly && program->proven);
  if (!restarts && !AnotherWorkerRuns(*program)) return Failure(what + said);
  if (settled) program->in_a_row = 0;
  // Of a killed program the last lines say nothing about its end.
  program->ending = process.killed_by_signal() ? what : what + said;
  return PlanStart(what, said, program);
}

bool Cluster::AnotherWorkerRuns(const Program& than) const {
  if (&than == &programs_.front()) return false;
  return std::any_of(programs_.begin() + 1, programs_.end(), [&](const Program& program) {
    return &program != &than && program.process != nullptr && program.due == absl::InfiniteFuture();
  });
}

absl::Status Cluster::PlanStart(const std::string& what, const std::string& said,
                                Program* program) {
  const absl::Time now = absl::Now();
  std::deque<absl::Time>& restarts = program->restarts;
  while (!restarts.empty() && now - restarts.front() > options_.hour) restarts.pop_front();
  if (static_cast<int>(restarts.size()) >= options_.max_restarts_per_hour) {
    if (AnotherWorkerRuns(*program)) {
      program->due = restarts.front() + options_.hour;
      return absl::OkStatus();
    }
    return Failure(absl::StrCat(what, ", after ", restarts.size(), " restarts within ",
                                absl::FormatDuration(options_.hour), said));
  }
  restarts.push_back(now);
  program->due = now + std::min(options_.min_restart_delay * std::exp2(program->in_a_row++),
                                absl::Milliseconds(limits::kLocalRestartDelayMaxMs));
  return absl::OkStatus();
}

absl::Status Cluster::StartAnew(Program* program) {
  if (program != &programs_.front()) {
    return StartWorker(static_cast<int>(program - &programs_[1]), program);
  }
  if (IsUnixAddress(address_)) return StartCoordinator(address_, program);
  // Where the port was chosen by the system it stays the same.
  const std::string host = SplitAddress(options_.listen).first;
  return StartCoordinator(absl::StrCat(host, ":", SplitAddress(address_).second), program);
}

absl::Status Cluster::CheckSocket() const {
  const absl::StatusOr<std::string> path = UnixSocketPath(address_);
  // Where nobody listens the coordinator is away, and makes its socket when it is back.
  if (!path.ok() || access(path->c_str(), F_OK) == 0 || !IsListenedAt(*path)) {
    return absl::OkStatus();
  }
  return Failure(
      absl::StrCat("the socket ", *path,
                   " of the coordinator was removed, and no worker can reach it any more; set "
                   "TMPDIR to a folder that nobody cleans up"));
}

absl::Status Cluster::StartAgain(Program* program) {
  if (program != &programs_.front()) EVOGRAD_RETURN_IF_ERROR(CheckSocket());
  const std::string old_name = program->name;
  program->due = absl::InfiniteFuture();
  if (const absl::Status started = StartAnew(program); !started.ok()) {
    // A lack of memory, say, which may pass.
    const std::string what =
        absl::StrCat(Title(*program), " could not be started again: ", started.message());
    if (options_.on_notice) options_.on_notice(what);
    return PlanStart(what, "", program);
  }
  if (options_.on_notice) {
    const bool renamed = old_name != program->name;
    absl::string_view ending = absl::StripSuffix(program->ending, "\n");
    options_.on_notice(absl::StrCat(
        ending, ending == program->ending ? "; " : "\n",
        renamed ? absl::StrCat(program->name, " takes its place") : "it was started again"));
  }
  return absl::OkStatus();
}

absl::Status Cluster::LookAfterAll() {
  for (Program& program : programs_) {
    if (program.due <= absl::Now()) EVOGRAD_RETURN_IF_ERROR(StartAgain(&program));
    const bool waits = program.due != absl::InfiniteFuture();
    if (!waits && program.process->WaitForEnd(absl::ZeroDuration()))
      EVOGRAD_RETURN_IF_ERROR(OnEnd(&program));
  }
  return absl::OkStatus();
}

void Cluster::Monitor() {
  bool failed = false;
  while (true) {
    std::vector<pollfd> ends = {{stop_fd_, POLLIN, 0}};
    absl::Time due = absl::InfiniteFuture();
    // After a failure there is only Stop to wait for.
    for (size_t i = 0; !failed && i < programs_.size(); ++i) {
      due = std::min(due, programs_[i].due);
      if (programs_[i].due == absl::InfiniteFuture())
        ends.push_back({programs_[i].process->ended_fd(), POLLIN, 0});
    }
    const int64_t wait_ms =
        due == absl::InfiniteFuture()
            ? -1
            : std::max<int64_t>(0, absl::ToInt64Milliseconds(due - absl::Now()) + 1);
    if (poll(ends.data(), ends.size(), static_cast<int>(wait_ms)) < 0) continue;  // EINTR
    if (ends[0].revents != 0) break;
    if (failed) continue;
    const absl::Status status = LookAfterAll();
    failed = !status.ok();
    if (failed && options_.on_failure) options_.on_failure(status);
  }
  // Here, because what this thread started dies with it.
  EndPrograms();
}

void Cluster::EndPrograms() {
  const auto end = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if (programs_[i].process != nullptr) programs_[i].process->Signal(SIGTERM);
    }
    const absl::Time deadline = absl::Now() + kStopPatience;
    for (size_t i = from; i < to; ++i) {
      if (programs_[i].process == nullptr) continue;
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
  // Of a coordinator that was not waited for to the end.
  if (!data_dir_.empty()) unlink(OwnAddressPath().c_str());
}

}  // namespace evograd
