// `evograd run`: jobs on a cluster of this machine, one after another.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/format.h"
#include "client/cli/job_files.h"
#include "client/cli/report.h"
#include "client/cli/session.h"
#include "client/cli/verbs.h"
#include "client/lib/cluster.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/job_service.pb.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

// What a cancelled job's workers need to see it.
constexpr absl::Duration kCancelPatience = absl::Seconds(15);
// A worker loads its libraries first.
constexpr absl::Duration kWorkersPatience = absl::Seconds(30);
constexpr absl::Duration kWorkersPoll = absl::Milliseconds(50);

// As many workers as there are GPUs, else cores, for, and no more than any of the jobs takes.
int64_t DefaultWorkers(const std::vector<CheckedFile>& files, const std::string& device) {
  int64_t useful = 1, threads = 1, needed = 1;
  for (const CheckedFile& checked : files) {
    useful = std::max<int64_t>(useful, checked.resolved.max_workers());
    threads = std::max<int64_t>(threads, checked.resolved.threads());
    needed = std::max<int64_t>(needed, checked.resolved.min_workers());
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

// "rotation-baseline" of "examples/rotation-baseline.yaml"; empty where that is no job's name.
std::string NameOfFile(const std::string& path) {
  const std::string file = path.substr(path.rfind('/') + 1);
  const std::string stem = file.substr(0, file.rfind('.'));
  return CheckJobId(stem).has_value() ? "" : stem;
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

class Runner {
 public:
  // `out`: where checkpoints are kept; empty, they are not.
  Runner(Session* session, std::vector<CheckedFile> files, std::string out)
      : session_(session), files_(std::move(files)), out_(std::move(out)) {}

  int Run(const ClusterOptions& cluster_options) {
    const InterruptHandler handler(session_->interrupts, [this] { stopper_.Stop(); });
    deadline_ = session_->Deadline();
    const absl::Status status = RunAll(cluster_options);
    if (!status.ok()) code_ = session_->Fail(status);
    PrintResults();
    if (cluster_ != nullptr) {
      const bool keep = !status.ok() || code_ == kExitJobFailed;
      if (keep) {
        cluster_->KeepData();
        session_->terminal->Say(absl::StrCat("The programs' logs are in ", cluster_->log_dir()));
      }
      cluster_->Stop();
    }
    return code_;
  }

 private:
  absl::Status RunAll(ClusterOptions options) {
    options.on_notice = [this](const std::string& notice) { session_->terminal->Say(notice); };
    options.on_failure = [this](const absl::Status& failure) {
      {
        absl::MutexLock lock(&mutex_);
        cluster_failure_ = failure;
      }
      stopper_.Stop();
    };
    // A new coordinator knows no names; an old one may know these.
    const bool fresh = options.data_dir.empty();
    session_->terminal->Say(absl::StrCat("Starting a coordinator and ", options.workers,
                                         options.workers == 1 ? " worker" : " workers",
                                         " on this machine"));
    EVOGRAD_ASSIGN_OR_RETURN(cluster_, Cluster::Start(options));
    Client client = session_->MakeClient(cluster_->address());
    for (const CheckedFile& checked : files_) {
      EVOGRAD_RETURN_IF_ERROR(WaitForWorkers(&client, options.workers));
      EVOGRAD_RETURN_IF_ERROR(RunOne(&client, checked.file, fresh));
      if (stopper_.stopped()) break;
    }
    return absl::OkStatus();
  }

  // So that a job has all of them from its first step on, and its time says what it took. Late ones
  // join it on its way.
  absl::Status WaitForWorkers(Client* client, int wanted) {
    const absl::Time deadline = std::min(deadline_, absl::Now() + kWorkersPatience);
    for (int free = 0; free < wanted && absl::Now() < deadline;) {
      if (stopper_.WaitForStop(kWorkersPoll)) return ClusterFailure();
      free = 0;
      EVOGRAD_RETURN_IF_ERROR(client->ForEachWorker([&](const v1::Worker& worker) {
        free += worker.state() == v1::FREE ? 1 : 0;
        return true;
      }));
    }
    return absl::OkStatus();
  }

  absl::Status ClusterFailure() {
    absl::MutexLock lock(&mutex_);
    return cluster_failure_;
  }

  absl::Status RunOne(Client* client, const JobFile& file, bool fresh) {
    const std::string id = !file.job_id.empty() ? file.job_id : fresh ? NameOfFile(file.path) : "";
    const absl::StatusOr<v1::Job> job = client->CreateJob(id, file.spec);
    if (!job.ok()) return file.Locate(job.status());
    FollowOptions options;
    options.deadline = deadline_;
    absl::StatusOr<v1::Job> ended = Follow(client, *job, options, session_->terminal, &stopper_);
    if (!ended.ok()) {
      EVOGRAD_RETURN_IF_ERROR(ClusterFailure());
      if (!stopper_.stopped() && !absl::IsDeadlineExceeded(ended.status())) return ended.status();
      const absl::Status reason = ended.status();
      ended = Cancel(client, *job);
      if (!ended.ok()) return ended.status();
      if (absl::IsDeadlineExceeded(reason)) {
        results_.push_back(*std::move(ended));
        return absl::DeadlineExceededError(
            absl::StrCat("the time given with --timeout is over; ", job->name(), " was cancelled"));
      }
    }
    if (!session_->json) {
      session_->terminal->Print(
          absl::StrCat(results_.empty() ? "" : "\n",
                       JobReport(*ended, session_->terminal->State(ended->state()))));
    }
    if (code_ == kExitOk) code_ = ExitCodeOf(ended->state());
    results_.push_back(*std::move(ended));
    return out_.empty() ? absl::OkStatus() : KeepCheckpoint(client, job->name());
  }

  // A job that failed may have one too.
  absl::Status KeepCheckpoint(Client* client, const std::string& job) {
    const auto last = client->LastCheckpoint(job);
    if (absl::IsNotFound(last.status())) {
      session_->terminal->Say(last.status().message());
      return absl::OkStatus();
    }
    EVOGRAD_RETURN_IF_ERROR(last.status());
    const std::string path = absl::StrCat(out_, "/", CheckpointFileName(job, last->step()));
    EVOGRAD_RETURN_IF_ERROR(client->DownloadCheckpoint(last->name(), path).status());
    session_->terminal->Say(absl::StrCat(path, ": ", FormatBytes(last->size_bytes())));
    return absl::OkStatus();
  }

  absl::StatusOr<v1::Job> Cancel(Client* client, const v1::Job& job) {
    session_->terminal->Say(absl::StrCat("Cancelling ", job.name(), "; Ctrl-C again ends at once"));
    const absl::StatusOr<v1::Job> cancelled = client->CancelJob(job.name());
    // It may have ended by itself in the meantime.
    if (!cancelled.ok() && !absl::IsFailedPrecondition(cancelled.status()))
      return cancelled.status();
    FollowOptions options;
    options.show = FollowOptions::Show::kNothing;
    options.deadline = absl::Now() + kCancelPatience;
    Stopper never;
    return Follow(client, job, options, session_->terminal, &never);
  }

  void PrintResults() {
    if (session_->json && results_.size() == 1 && files_.size() == 1) {
      session_->terminal->Print(ToJson(results_[0]));
    } else if (session_->json) {
      v1::ListJobsResponse response;
      for (const v1::Job& job : results_) *response.add_jobs() = job;
      session_->terminal->Print(ToJson(response));
    } else if (results_.size() > 1) {
      session_->terminal->Print(absl::StrCat("\n", ComparisonTable(results_)));
    }
  }

  Session* const session_;
  const std::vector<CheckedFile> files_;
  const std::string out_;
  Stopper stopper_;
  absl::Mutex mutex_;
  absl::Status cluster_failure_ ABSL_GUARDED_BY(mutex_);
  absl::Time deadline_;
  std::vector<v1::Job> results_;
  int code_ = kExitOk;
  // Last, so that its thread ends before what its callbacks use.
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace

int RunVerb(Session* session) {
  auto files = ReadAndCheck(session->arguments.operands());
  if (!files.ok()) return session->Fail(files.status());
  const std::string device = session->arguments.Get("device", "auto");
  const auto workers = session->arguments.GetInt("workers", DefaultWorkers(*files, device), 1,
                                                 limits::kMaxLocalWorkers);
  if (!workers.ok()) return session->Fail(workers.status());
  const absl::Status enough = CheckWorkers(*files, *workers);
  if (!enough.ok()) return session->Fail(enough);
  const std::string out = session->arguments.Get("out", "");
  const absl::Status made = MakeFolder(out);
  if (!made.ok()) return session->Fail(made);
  ClusterOptions options;
  options.workers = static_cast<int>(*workers);
  options.device = device;
  options.data_dir = session->arguments.Get("data-dir", "");
  return Runner(session, *std::move(files), out).Run(options);
}

}  // namespace evograd
