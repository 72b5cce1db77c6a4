// `evograd run` and `resume`: jobs on a cluster of this machine, to their end.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/format.h"
#include "client/cli/interrupts.h"
#include "client/cli/job_files.h"
#include "client/cli/patience.h"
#include "client/cli/private_socket.h"
#include "client/cli/report.h"
#include "client/cli/runner.h"
#include "client/cli/session.h"
#include "client/cli/verbs.h"
#include "client/lib/cluster.h"
#include "client/lib/job_state.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/job_service.pb.h"

namespace evograd {
namespace {

// As many workers as there are GPUs, else cores, for, and no more than any of the jobs takes.
int64_t DefaultWorkers(const std::vector<v1::JobSpec>& specs, const std::string& device) {
  int64_t useful = 1, threads = 1, needed = 1;
  for (const v1::JobSpec& spec : specs) {
    useful = std::max<int64_t>(useful, spec.max_workers());
    threads = std::max<int64_t>(threads, spec.threads());
    needed = std::max<int64_t>(needed, spec.min_workers());
  }
  const int64_t gpus = device == "auto" ? CountGpus() : 0;
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const int64_t places = gpus > 0 ? gpus : std::max<int64_t>(1, cores / threads);
  return std::min<int64_t>(limits::kMaxLocalWorkers, std::max(needed, std::min(useful, places)));
}

absl::Status CheckWorkers(const std::vector<CheckedFile>& files, int64_t workers) {
  for (const CheckedFile& checked : files) {
    if (checked.resolved.min_workers() <= workers) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(checked.file.Locate("min_workers"), ": the job needs ",
                     checked.resolved.min_workers(), " workers, and --workers gives ", workers));
  }
  return absl::OkStatus();
}

// Before hours of work end with nowhere to put what they came to. Empty: none is wanted.
absl::Status MakeFolder(const std::string& folder) {
  if (folder.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error && access(folder.c_str(), W_OK) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--out ", folder, ": ", error ? error.message() : "no file can be written there",
                   "; name a folder that is there or can be made"));
}

// What both verbs take; the number of workers is that of the flag or of `specs`.
absl::StatusOr<RunnerOptions> ReadOptions(const Session& session,
                                          const std::vector<v1::JobSpec>& specs) {
  RunnerOptions options;
  options.device = session.arguments.Get("device", "auto");
  EVOGRAD_ASSIGN_OR_RETURN(
      const int64_t workers,
      session.arguments.GetInt("workers", DefaultWorkers(specs, options.device), 1,
                               limits::kMaxLocalWorkers));
  options.workers = static_cast<int>(workers);
  options.out = session.arguments.Get("out", "");
  options.data_dir = session.arguments.Get("data-dir", "");
  return options;
}

// All jobs, oldest first; of those that have not ended, their settings too.
absl::StatusOr<std::vector<v1::Job>> UnfinishedInFull(Client* client) {
  std::vector<v1::Job> jobs;
  EVOGRAD_RETURN_IF_ERROR(client->ForEachJob([&](const v1::Job& job) {
    jobs.push_back(job);
    return true;
  }));
  std::reverse(jobs.begin(), jobs.end());
  for (v1::Job& job : jobs) {
    // A list leaves the settings out.
    if (IsEnded(job.state())) continue;
    EVOGRAD_ASSIGN_OR_RETURN(job, client->GetJob(job.name()));
  }
  return jobs;
}

// The folder's jobs, oldest first, from a coordinator without workers.
absl::StatusOr<std::vector<v1::Job>> JobsOfFolder(Session* session, const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(folder + "/store.sqlite", error)) {
    return absl::NotFoundError(absl::StrCat(
        folder,
        " has no jobs (there is no file store.sqlite in it); give --data-dir the folder that "
        "`evograd run` or `up` had"));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const auto socket, PrivateSocket::Make(nullptr));
  ClusterOptions options;
  options.listen = socket->address();
  options.workers = 0;
  options.data_dir = folder;
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<Cluster> cluster, Cluster::Start(options));
  Client client = session->MakeClient(cluster->address());
  Stopper stopper;
  const InterruptHandler handler(session->interrupts, [&] { stopper.Stop(); });
  // It may be busy with what it has read.
  const absl::Time deadline = std::min(session->Deadline(), absl::Now() + WatchOptions().patience);
  auto jobs = Patiently(stopper, deadline, [&] { return UnfinishedInFull(&client); });
  if (stopper.stopped()) return absl::CancelledError("interrupted");
  return jobs;
}

}  // namespace

int RunVerb(Session* session) {
  auto files = ReadAndCheck(session->arguments.operands());
  if (!files.ok()) return session->Fail(files.status());
  std::vector<v1::JobSpec> specs;
  for (const CheckedFile& checked : *files) specs.push_back(checked.resolved);
  const auto options = ReadOptions(*session, specs);
  if (!options.ok()) return session->Fail(options.status());
  const absl::Status enough = CheckWorkers(*files, options->workers);
  if (!enough.ok()) return session->Fail(enough);
  const absl::Status made = MakeFolder(options->out);
  if (!made.ok()) return session->Fail(made);
  const std::vector<std::string> ids = JobIds(*files);
  std::vector<Work> work;
  for (size_t i = 0; i < files->size(); ++i) {
    work.push_back({JobName(ids[i]), std::move((*files)[i])});
  }
  return Runner(session, *options).Run(std::move(work));
}

int ResumeVerb(Session* session) {
  const std::string folder = session->arguments.Get("data-dir", "");
  if (folder.empty()) {
    return session->Fail(
        absl::InvalidArgumentError("--data-dir is missing: the folder whose jobs are to go on, as "
                                   "`evograd run` or `up` had it"));
  }
  const absl::Status made = MakeFolder(session->arguments.Get("out", ""));
  if (!made.ok()) return session->Fail(made);
  const auto jobs = JobsOfFolder(session, folder);
  if (!jobs.ok()) return session->Fail(jobs.status());
  std::vector<Work> work;
  std::vector<v1::JobSpec> specs;
  for (const v1::Job& job : *jobs) {
    if (IsEnded(job.state())) continue;
    work.push_back({job.name(), absl::nullopt});
    specs.push_back(job.spec());
  }
  if (work.empty()) {
    session->terminal->Say(absl::StrCat("Every job of ", folder, " has ended"));
    v1::ListJobsResponse response;
    for (const v1::Job& job : *jobs) *response.add_jobs() = job;
    session->terminal->Print(session->json ? ToJson(response) : JobsTable(*jobs, absl::Now()));
    return kExitOk;
  }
  const auto options = ReadOptions(*session, specs);
  if (!options.ok()) return session->Fail(options.status());
  return Runner(session, *options).Run(std::move(work));
}

}  // namespace evograd
