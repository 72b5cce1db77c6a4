// `evograd up` and `evograd hypergradient`: the service's programs on this machine.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "client/cli/exit_code.h"
#include "client/cli/job_files.h"
#include "client/cli/session.h"
#include "client/cli/temporary_folder.h"
#include "client/cli/verbs.h"
#include "client/lib/child_process.h"
#include "client/lib/cluster.h"
#include "client/lib/output_file.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"

namespace evograd {
namespace {

// Where `up` keeps its data unless told otherwise: the user's folder for state that outlives a
// restart.
std::string DefaultDataDir() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return absl::StrCat(state, "/evograd");
  const char* home = std::getenv("HOME");
  return absl::StrCat(home != nullptr ? home : "/tmp", "/.local/state/evograd");
}

// What ends a wait: Ctrl-C (OK) or the cluster's failure. The first counts.
class Ending {
 public:
  void Set(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    status_ = status;
  }
  absl::Status Wait() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&ended_));
    return status_;
  }

 private:
  absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// The bytes of a file that another program wrote.
absl::Status Copy(const std::string& from, OutputFile* to) {
  std::ifstream file(from, std::ios::binary);
  std::string bytes(1 << 20, '\0');
  do {
    file.read(&bytes[0], static_cast<std::streamsize>(bytes.size()));
    EVOGRAD_RETURN_IF_ERROR(to->Write(absl::string_view(bytes).substr(0, file.gcount())));
  } while (file);
  if (file.eof()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(from, " cannot be read"));
}

absl::Status ComputeHypergradient(const v1::JobSpec& spec, const std::string& device,
                                  OutputFile* out) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string worker, FindProgram("worker"));
  EVOGRAD_ASSIGN_OR_RETURN(const auto folder, TemporaryFolder::Make());
  const std::string spec_path = folder->path() + "/job.pb";
  std::ofstream file(spec_path, std::ios::binary);
  if (!spec.SerializeToOstream(&file) || !file.flush()) {
    return absl::FailedPreconditionError(
        "cannot write to the temporary folder; set TMPDIR to one that has room");
  }
  const bool copied = out->part_path().empty();
  const std::string path = copied ? folder->path() + "/out" : out->part_path();
  std::vector<std::string> command = {worker, "--hypergradient_of=" + spec_path, "--out=" + path};
  if (device != "auto") command.push_back("--device=" + device);
  const std::string log = folder->path() + "/worker.log";
  EVOGRAD_ASSIGN_OR_RETURN(const auto child, ChildProcess::Start(command, log));
  child->WaitForEnd(absl::InfiniteDuration());
  if (child->succeeded()) {
    if (copied) EVOGRAD_RETURN_IF_ERROR(Copy(path, out));
    return out->Finish();
  }
  return absl::AbortedError(
      absl::StrCat("the worker ", child->Ending(), "; it said:\n", child->LastOutput(15)));
}

// Who can submit and cancel jobs, and so have files read with the rights of this user.
std::string WhoReaches(const std::string& address, bool insecure) {
  if (IsUnixAddress(address)) return "";
  return absl::StrCat(
      insecure ? "Everybody who reaches it, on any machine," : "Every user of this machine",
      " can use it; with --listen unix:/PATH only you can. ");
}

}  // namespace

int UpVerb(Session* session) {
  const std::string device = session->arguments.Get("device", "auto");
  const int64_t gpus = device == "auto" ? CountGpus() : 0;
  const int64_t places = gpus > 0 ? gpus : std::max(1u, std::thread::hardware_concurrency());
  const auto workers = session->arguments.GetInt(
      "workers", std::min<int64_t>(places, limits::kMaxLocalWorkers), 0, limits::kMaxLocalWorkers);
  if (!workers.ok()) return session->Fail(workers.status());
  Ending ending;
  ClusterOptions options;
  options.workers = static_cast<int>(*workers);
  options.device = device;
  options.data_dir = session->arguments.Get("data-dir", DefaultDataDir());
  options.listen = session->arguments.Get("listen", "127.0.0.1:7070");
  options.insecure = session->arguments.Has("insecure");
  options.on_notice = [&](const std::string& notice) { session->terminal->Say(notice); };
  options.on_failure = [&](const absl::Status& failure) { ending.Set(failure); };
  const InterruptHandler handler(session->interrupts, [&] { ending.Set(absl::OkStatus()); });
  const auto cluster = Cluster::Start(options);
  if (!cluster.ok()) return session->Fail(cluster.status());
  session->terminal->Print(absl::StrCat((*cluster)->address(), "\n"));
  session->terminal->Say(absl::StrCat("A coordinator listens here, with ", *workers,
                                      *workers == 1 ? " worker" : " workers",
                                      "; data and logs are in ", (*cluster)->data_dir(), ". ",
                                      WhoReaches((*cluster)->address(), options.insecure),
                                      "Ctrl-C ends it; its jobs go on at the next start."));
  const absl::Status end = ending.Wait();
  (*cluster)->Stop();
  return end.ok() ? kExitOk : session->Fail(end);
}

int HypergradientVerb(Session* session) {
  const auto files = ReadAndCheck(session->arguments.operands());
  if (!files.ok()) return session->Fail(files.status());
  const std::string out = session->arguments.Get("out", "");
  if (out.empty()) {
    return session->Fail(
        absl::InvalidArgumentError("--out is missing: the file to write, X.safetensors"));
  }
  const std::string name = absl::StrCat(JobIds(*files)[0], "-hypergradient.safetensors");
  const auto file = OutputFile::Open(PathIn(out, name));
  if (!file.ok()) return session->Fail(file.status());
  const absl::Status status = ComputeHypergradient(
      files->front().resolved, session->arguments.Get("device", "auto"), file->get());
  if (!status.ok()) return session->Fail(status);
  if (!(*file)->is_standard_output()) {
    session->terminal->Print(absl::StrCat((*file)->path(), "\n"));
  }
  return kExitOk;
}

}  // namespace evograd
