// The worker: computes what the coordinator gives it, on one device.
//
//   worker --coordinator=host:7070 --device=auto
//
// It only dials out, dials again for ever when the coordinator is away, and ends on SIGTERM or
// SIGINT. With --hypergradient_of it computes one meta-step of a job, writes every tensor of it to
// a file and ends. Lines for people go to standard error.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/address.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "worker/agent/agent.h"
#include "worker/collective/communicator_factory.h"
#include "worker/collective/local_address.h"
#include "worker/collective/nccl_communicator.h"
#include "worker/engine/engine.h"
#include "worker/engine/numerics.h"

ABSL_FLAG(std::string, coordinator, "", "Where the coordinator listens: host:port or unix:/PATH.");
ABSL_FLAG(std::string, device, "auto",
          "auto (the first CUDA device, else the CPU), cpu or cuda:N.");
ABSL_FLAG(std::string, worker_id, "",
          "The worker's name, unique among connected workers; empty: made from the host's.");
ABSL_FLAG(std::string, interface_address, "",
          "The address of this host that workers on other hosts dial; empty: the one from which "
          "the coordinator is reached, else that of the first interface that is up.");
ABSL_FLAG(bool, parent_death_signal, false, "End when the starting process ends.");
ABSL_FLAG(std::string, hypergradient_of, "",
          "A file with a serialised, resolved evograd.v1.JobSpec: compute one meta-step of it.");
ABSL_FLAG(std::string, out, "", "Where --hypergradient_of writes its safetensors file.");
// Pretends to be of another version.
ABSL_FLAG(int, protocol_version, evograd::limits::kProtocolVersion, "For tests.");

namespace evograd {
namespace {

void Say(const std::string& text) {
  const std::string line = absl::StrCat(
      absl::FormatTime("%Y-%m-%d %H:%M:%E3S ", absl::Now(), absl::LocalTimeZone()), text, "\n");
  // One write per line, so that lines of several processes do not mix.
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

struct Device {
  std::string name = "cpu";
  bool cuda = false;
  int cuda_device = 0;
};

absl::StatusOr<Device> ChooseDevice(const std::string& flag) {
  if (flag == "cpu") return Device{};
  const int count = CountCudaDevices();
  if (flag == "auto") return count > 0 ? Device{"cuda:0", true, 0} : Device{};
  Device device{flag, true, 0};
  if (!absl::StartsWith(flag, "cuda:") || !absl::SimpleAtoi(flag.substr(5), &device.cuda_device) ||
      device.cuda_device < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--device is `", flag, "`; it must be auto, cpu or cuda:N"));
  }
  if (device.cuda_device >= count) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--device is ", flag, ", but this machine has ", count,
        count == 1 ? " CUDA device" : " CUDA devices", count == 0 ? " or no driver for them" : ""));
  }
  return device;
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

// The processor's name as the kernel tells it.
std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (absl::StartsWith(line, "model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "CPU";
}

// Processes of the same id, host and number, in other containers or after a restart, have others.
std::string ProcessNonce() {
  std::random_device random;
  return absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(), random());
}

bool IsIdCharacter(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; }

absl::StatusOr<std::string> ChooseWorkerId(const std::string& flag) {
  if (flag.empty()) {
    const std::string suffix = absl::StrFormat("-%08x", std::random_device{}());
    std::string host = HostName().substr(0, limits::kMaxWorkerIdBytes - suffix.size());
    std::replace_if(host.begin(), host.end(), [](char c) { return !IsIdCharacter(c); }, '-');
    return host + suffix;
  }
  if (flag.size() > limits::kMaxWorkerIdBytes ||
      !std::all_of(flag.begin(), flag.end(), IsIdCharacter)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--worker_id is `", flag, "`; it must have at most ",
                     limits::kMaxWorkerIdBytes, " letters, digits, '-', '_' and '.'"));
  }
  return flag;
}

// Now rather than in every group that the worker would enter.
absl::Status CheckInterfaceAddress(const std::string& flag) {
  if (flag.empty()) return absl::OkStatus();
  const absl::Status status = LocalAddress(flag).status();
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("--interface_address: ", std::string(status.message())));
}

absl::StatusOr<agent::AgentOptions> MakeOptions() {
  agent::AgentOptions options;
  options.coordinator = absl::GetFlag(FLAGS_coordinator);
  if (options.coordinator.empty()) {
    return absl::InvalidArgumentError("--coordinator is missing: give it as host:port");
  }
  // What can be no address would be dialled for ever.
  if (const absl::Status status = CheckAddress(options.coordinator); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--coordinator: ", status.message()));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const Device device, ChooseDevice(absl::GetFlag(FLAGS_device)));
  options.device = device.name;
  options.cuda_device = device.cuda_device;
  EVOGRAD_RETURN_IF_ERROR(CheckInterfaceAddress(absl::GetFlag(FLAGS_interface_address)));
  // NCCL chooses for itself.
  if (!device.cuda) {
    options.address = [given = absl::GetFlag(FLAGS_interface_address),
                       coordinator = options.coordinator](bool several_hosts) {
      return AddressForGroup(given, coordinator, several_hosts);
    };
  }
  options.make_engine = MakeEngine;
  // The coordinator makes groups of one kind of device only.
  const auto memory = device.cuda ? Communicator::Memory::kCuda : Communicator::Memory::kHost;
  options.make_communicator = [memory](const CommunicatorOptions& group, Rendezvous& rendezvous) {
    return CreateCommunicator(memory, group, rendezvous);
  };
  options.say = Say;
  v1::Hello& hello = options.hello;
  EVOGRAD_ASSIGN_OR_RETURN(*hello.mutable_worker_id(),
                           ChooseWorkerId(absl::GetFlag(FLAGS_worker_id)));
  hello.set_protocol_version(absl::GetFlag(FLAGS_protocol_version));
  hello.set_device_kind(device.cuda ? v1::CUDA : v1::CPU);
  hello.set_device_name(device.cuda ? device.name : CpuName());
  hello.set_host(HostName());
  hello.set_process_id(getpid());
  hello.set_process_nonce(ProcessNonce());
  hello.set_network(LoopbackNetwork());
  // A device that fails may do so for a while only: whoever started this process tries again.
  EVOGRAD_ASSIGN_OR_RETURN(*hello.mutable_numerics(), Numerics(device.name));
  return options;
}

// Calls `stop` on SIGTERM or SIGINT, and has the kernel end the process should that take too long.
// To be made before any other thread: they must all leave these signals to this one.
class SignalThread {
 public:
  SignalThread() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    // A blocked signal comes to sigwait even where it is ignored, and a shell that ignores it for
    // what it starts with & wants it to change nothing.
    struct sigaction action;
    const bool ignored = sigaction(SIGINT, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  ~SignalThread() { Finish(); }

  void Start(std::function<void()> stop) {
    thread_ = std::thread([this, stop = std::move(stop)] {
      int signal = 0;
      sigwait(&signals_, &signal);
      if (finished_) return;
      alarm(limits::kWorkerExitSeconds);
      stop();
    });
  }

  // `stop` is not called any more once this has returned.
  void Finish() {
    finished_ = true;
    if (!thread_.joinable()) return;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

 private:
  sigset_t signals_;
  std::atomic<bool> finished_{false};
  std::thread thread_;
};

absl::Status RunAgent(SignalThread* signals) {
  EVOGRAD_ASSIGN_OR_RETURN(agent::AgentOptions options, MakeOptions());
  Say(absl::StrCat("worker ", options.hello.worker_id(), " on ", options.hello.device_name(),
                   ", process ", options.hello.process_id()));
  agent::Agent agent(std::move(options));
  signals->Start([&agent] { agent.Stop(); });
  const absl::Status status = agent.Run();
  signals->Finish();
  if (status.ok()) {
    Say("told to end");
    return status;
  }
  return absl::Status(
      status.code(), absl::StrCat("the coordinator at ", absl::GetFlag(FLAGS_coordinator),
                                  " does not accept this worker: ", std::string(status.message())));
}

absl::Status RunHypergradient() {
  const std::string path = absl::GetFlag(FLAGS_hypergradient_of);
  const std::string out = absl::GetFlag(FLAGS_out);
  if (out.empty()) {
    return absl::InvalidArgumentError("--out is missing: name the file to write");
  }
  EVOGRAD_ASSIGN_OR_RETURN(const Device device, ChooseDevice(absl::GetFlag(FLAGS_device)));
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  v1::JobSpec spec;
  if (!spec.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " does not hold a serialised evograd.v1.JobSpec"));
  }
  EngineOptions options;
  options.device = device.name;
  EVOGRAD_RETURN_IF_ERROR(WriteHypergradient(spec, options, out));
  Say(absl::StrCat("wrote ", out));
  return absl::OkStatus();
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Computes what a coordinator gives it, on one device.\n"
      "  worker --coordinator=host:7070 [--device=auto|cpu|cuda:N]");
  const std::vector<char*> words = absl::ParseCommandLine(argc, argv);
  if (words.size() > 1) {
    std::fprintf(stderr, "worker: unknown argument `%s`; see --help\n", words[1]);
    return 2;
  }
  const pid_t parent = getppid();
  // It may have ended before the call: then no signal comes.
  if (absl::GetFlag(FLAGS_parent_death_signal) &&
      (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)) {
    std::fprintf(stderr, "worker: the starting process has ended\n");
    return 1;
  }
  absl::Status status;
  if (absl::GetFlag(FLAGS_hypergradient_of).empty()) {
    evograd::SignalThread signals;
    status = evograd::RunAgent(&signals);
  } else {
    status = evograd::RunHypergradient();
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "worker: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
