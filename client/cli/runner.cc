#include "client/cli/runner.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/format.h"
#include "client/cli/patience.h"
#include "client/cli/report.h"
#include "client/cli/spec_difference.h"
#include "client/lib/job_state.h"
#include "client/lib/uuid.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/job_service.pb.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

// A worker loads its libraries first.
constexpr absl::Duration kWorkersPatience = absl::Seconds(30);
constexpr absl::Duration kWorkersPoll = absl::Milliseconds(50);
constexpr absl::Duration kWorkersSilence = absl::Seconds(5);
// Of calls after Ctrl-C.
constexpr absl::Duration kLeaveTimeout = absl::Seconds(3);

std::string Counted(int count, const std::string& noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

// As a shell takes it for one word.
std::string Quoted(const std::string& word) {
  const auto plain = [](char c) {
    return absl::ascii_isalnum(c) || std::strchr("/._-+=:@,", c) != nullptr;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

}  // namespace

int Runner::Run(std::vector<Work> work) {
  work_ = std::move(work);
  const InterruptHandler handler(session_->interrupts, [this] { stopper_.Stop(); });
  deadline_ = session_->Deadline();
  absl::Status status = RunAll();
  if (!ClusterFailure().ok()) {
    // Why nobody answers.
    status = ClusterFailure();
  } else if (stopper_.stopped() && absl::IsUnavailable(status) && results_.size() < work_.size()) {
    // Nobody answered yet when Ctrl-C came.
    status = absl::OkStatus();
  }
  if (!status.ok()) code_ = session_->Fail(status);
  const bool left = unfinished_ || results_.size() < work_.size();
  if (left && stopper_.stopped() && code_ == kExitOk) code_ = kExitInterrupted;
  PrintResults();
  SayWhatIsKept(status);
  if (cluster_ != nullptr) cluster_->Stop();
  return code_;
}

absl::Status Runner::RunAll() {
  EVOGRAD_RETURN_IF_ERROR(StartCluster());
  Client client = session_->MakeClient(cluster_->address());
  if (temporary_ == nullptr) EVOGRAD_RETURN_IF_ERROR(LookAtFolder(&client));
  for (const Work& work : work_) {
    EVOGRAD_RETURN_IF_ERROR(WaitForWorkers(&client));
    if (stopper_.stopped()) break;
    EVOGRAD_RETURN_IF_ERROR(RunOne(&client, work));
    if (stopper_.stopped()) break;
  }
  return ClusterFailure();
}

absl::Status Runner::StartCluster() {
  ClusterOptions options;
  options.workers = options_.workers;
  options.device = options_.device;
  options.data_dir = options_.data_dir;
  if (options.data_dir.empty()) {
    EVOGRAD_ASSIGN_OR_RETURN(temporary_, TemporaryFolder::Make());
    options.data_dir = temporary_->path();
  }
  EVOGRAD_ASSIGN_OR_RETURN(socket_, PrivateSocket::Make(temporary_.get()));
  options.listen = socket_->address();
  options.on_notice = [this](const std::string& notice) { session_->terminal->Say(notice); };
  options.on_failure = [this](const absl::Status& failure) {
    {
      absl::MutexLock lock(&mutex_);
      cluster_failure_ = failure;
    }
    stopper_.Stop();
  };
  session_->terminal->Say(absl::StrCat("Starting a coordinator and ",
                                       Counted(options.workers, "worker"),
                                       " on this machine; data and logs are in ", options.data_dir,
                                       temporary_ ? " until the end" : ""));
  served_since_ = absl::Now();
  EVOGRAD_ASSIGN_OR_RETURN(cluster_, Cluster::Start(options));
  return absl::OkStatus();
}

absl::Status Runner::LookAtFolder(Client* client) {
  std::set<std::string> names;
  for (const Work& work : work_) {
    names.insert(work.name);
    if (!work.file.has_value()) continue;
    auto job = Patiently(stopper_, deadline_, [&] { return client->GetJob(work.name); });
    if (absl::IsNotFound(job.status())) continue;
    EVOGRAD_RETURN_IF_ERROR(job.status());
    // Defaults that are newer than the job.
    Resolve(job->mutable_spec());
    const std::string difference = SpecDifference(job->spec(), work.file->resolved);
    if (difference.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(work.file->file.path, ": ", options_.data_dir, " has a ", work.name,
                     " with other settings: ", difference,
                     "; give this one another `name`, or run it in another ", "--data-dir"));
  }
  std::vector<std::string> others;
  EVOGRAD_RETURN_IF_ERROR(Patiently(stopper_, deadline_, [&] {
    others.clear();
    return client->ForEachJob([&](const v1::Job& job) {
      if (!IsEnded(job.state()) && names.count(job.name()) == 0) {
        others.push_back(absl::StrCat(job.name(), " (", job.committed_steps(), " steps)"));
      }
      return true;
    });
  }));
  if (others.empty()) return absl::OkStatus();
  session_->terminal->Say(absl::StrCat(
      "This folder has unfinished jobs, which go on too: ", absl::StrJoin(others, ", "),
      "; to end one: evograd cancel NAME --coordinator ", client->address()));
  return absl::OkStatus();
}

// So that a job has all of them from its first step on, and its time says what it took. Late ones
// join it on its way.
absl::Status Runner::WaitForWorkers(Client* client) {
  const absl::Time begin = absl::Now();
  const absl::Time deadline = std::min(deadline_, begin + kWorkersPatience);
  bool said = false;
  for (int ready = 0; ready < options_.workers && absl::Now() < deadline;) {
    if (stopper_.WaitForStop(kWorkersPoll)) return ClusterFailure();
    ready = 0;
    const absl::Status listed = client->ForEachWorker([&](const v1::Worker& worker) {
      // What still holds a job that has ended is soon free; another job of the folder keeps its
      // own.
      const bool leaving = std::any_of(results_.begin(), results_.end(), [&](const v1::Job& job) {
        return job.name() == worker.job();
      });
      ready += leaving ? 0 : 1;
      return true;
    });
    // A coordinator that is away has none.
    if (MayPass(listed)) {
      ready = 0;
    } else {
      EVOGRAD_RETURN_IF_ERROR(listed);
    }
    if (said || ready >= options_.workers || absl::Now() - begin < kWorkersSilence) continue;
    said = true;
    session_->terminal->Say(
        absl::StrCat("Waiting for workers: ", ready, " of ", options_.workers, " are ready"));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> Runner::FindOrCreate(Client* client, const Work& work) {
  if (temporary_ == nullptr) {
    const auto job = Patiently(stopper_, deadline_, [&] { return client->GetJob(work.name); });
    if (!absl::IsNotFound(job.status())) {
      EVOGRAD_RETURN_IF_ERROR(job.status());
      session_->terminal->Say(
          IsEnded(job->state())
              ? absl::StrCat(job->name(), " of this folder has ended before; its result:")
              : absl::StrCat(job->name(), " of this folder goes on; it has ",
                             job->committed_steps(), " of ", job->spec().steps(), " steps"));
      return job;
    }
  }
  const JobFile& file = work.file->file;
  const std::string request = NewUuid();
  const absl::StatusOr<v1::Job> job = Patiently(stopper_, deadline_, [&] {
    return client->CreateJob(ShortName(work.name), file.spec, request);
  });
  if (!job.ok()) return file.Locate(job.status());
  return job;
}

absl::Status Runner::RunOne(Client* client, const Work& work) {
  EVOGRAD_ASSIGN_OR_RETURN(v1::Job job, FindOrCreate(client, work));
  ++begun_;
  const bool old = IsEnded(job.state());
  if (!old) {
    FollowOptions options;
    options.deadline = deadline_;
    // The cluster knows when it is at its end, and stops this.
    options.patience = absl::InfiniteDuration();
    options.after_sequence = job.last_sequence();
    options.served_since = served_since_;
    options.on_event = [this](const v1::Event& event) {
      if (!event.has_checkpoint_written()) return;
      has_checkpoint_ = true;
      // It is worth more than a tidy folder.
      if (temporary_ != nullptr) temporary_->KeepIfKilled();
    };
    const absl::StatusOr<v1::Job> ended =
        Follow(client, job, options, session_->terminal, &stopper_);
    if (!ended.ok()) {
      EVOGRAD_RETURN_IF_ERROR(ClusterFailure());
      if (stopper_.stopped()) return LeaveOne(client, job.name());
      if (!absl::IsDeadlineExceeded(ended.status())) return ended.status();
      EVOGRAD_RETURN_IF_ERROR(LeaveOne(client, job.name()));
      return absl::DeadlineExceededError("the time given with --timeout is over");
    }
    job = *ended;
  }
  Report(job);
  if (old && job.state() != v1::SUCCEEDED) {
    session_->terminal->Say(
        "To run it anew, give it another `name`, or run it in another --data-dir");
  }
  return KeepCheckpoint(client, job.name());
}

void Runner::Report(const v1::Job& job) {
  if (!session_->json) {
    session_->terminal->Print(
        absl::StrCat(results_.empty() ? "" : "\n",
                     JobReport(job, session_->terminal->State(job.state()), served_since_)));
  }
  if (code_ == kExitOk) code_ = ExitCodeOf(job.state());
  results_.push_back(job);
}

absl::Status Runner::LeaveOne(Client* client, const std::string& name) {
  session_->terminal->Say("Stopping; Ctrl-C again ends at once");
  unfinished_ = true;
  Client brief(ClientOptions{client->address(), kLeaveTimeout, kLeaveTimeout});
  const auto job = brief.GetJob(name);
  if (!job.ok()) return absl::OkStatus();  // it stands in the folder as it does
  if (IsEnded(job->state())) {
    unfinished_ = false;
    Report(*job);
    return KeepCheckpoint(client, name);
  }
  const auto last = brief.LastCheckpoint(name);
  has_checkpoint_ = has_checkpoint_ || last.ok();
  session_->terminal->Say(
      absl::StrCat(name, " has ", job->committed_steps(), " of ", job->spec().steps(), " steps; ",
                   last.ok() ? absl::StrCat("its last checkpoint is of step ", last->step())
                             : "it has no checkpoint yet"));
  results_.push_back(*job);
  return options_.out.empty() ? absl::OkStatus() : KeepCheckpoint(client, name);
}

absl::Status Runner::KeepCheckpoint(Client* client, const std::string& job) {
  const auto find_last = [&] {
    return Patiently(stopper_, deadline_, [&] { return client->LastCheckpoint(job); });
  };
  const auto last = find_last();
  if (absl::IsNotFound(last.status())) {
    if (!options_.out.empty()) session_->terminal->Say(last.status().message());
    return absl::OkStatus();
  }
  EVOGRAD_RETURN_IF_ERROR(last.status());
  if (options_.out.empty()) {
    unsaved_.push_back(
        absl::StrCat(job, " (step ", last->step(), ", ", FormatBytes(last->size_bytes()), ")"));
    return absl::OkStatus();
  }
  int64_t kept = -1;
  const auto step_of = [](const absl::StatusOr<v1::Checkpoint>& found) -> absl::StatusOr<int64_t> {
    if (!found.ok()) return found.status();
    return found->step();
  };
  const auto fetch = [&](int64_t step, const std::string& remark) {
    kept = step;
    return Patiently(stopper_, deadline_, [&] { return Fetch(client, job, step, remark); });
  };
  EVOGRAD_RETURN_IF_ERROR(FetchChosen([&] { return step_of(find_last()); },
                                      [&](int64_t step) { return fetch(step, ""); }));
  const auto find_best = [&] {
    return Patiently(stopper_, deadline_, [&] { return client->BestCheckpoint(job); });
  };
  const auto best = find_best();
  if (absl::IsNotFound(best.status()) || (best.ok() && best->step() == kept)) {
    return absl::OkStatus();
  }
  return FetchChosen([&] { return step_of(find_best()); },
                     [&](int64_t step) { return fetch(step, ", the best"); });
}

absl::Status Runner::Fetch(Client* client, const std::string& job, int64_t step,
                           const std::string& remark) {
  const std::string path = absl::StrCat(options_.out, "/", CheckpointFileName(job, step));
  EVOGRAD_ASSIGN_OR_RETURN(const auto file, OutputFile::Open(path));
  EVOGRAD_ASSIGN_OR_RETURN(
      const v1::Checkpoint checkpoint,
      client->DownloadCheckpoint(absl::StrCat(job, "/checkpoints/", step), file.get()));
  session_->terminal->Say(absl::StrCat(path, ": ", FormatBytes(checkpoint.size_bytes()), remark));
  return absl::OkStatus();
}

absl::Status Runner::ClusterFailure() {
  absl::MutexLock lock(&mutex_);
  return cluster_failure_;
}

void Runner::PrintResults() {
  if (session_->json && results_.size() == 1 && work_.size() == 1) {
    session_->terminal->Print(ToJson(results_[0]));
  } else if (session_->json) {
    v1::ListJobsResponse response;
    for (const v1::Job& job : results_) *response.add_jobs() = job;
    session_->terminal->Print(ToJson(response));
  } else if (results_.size() > 1) {
    session_->terminal->Print(absl::StrCat("\n", ComparisonTable(results_, served_since_)));
  }
}

void Runner::SayWhatIsKept(const absl::Status& status) {
  if (cluster_ == nullptr) return;
  Terminal* const terminal = session_->terminal;
  // The logs say nothing about a wrong command or an end that was wished for.
  const bool wished = absl::IsDeadlineExceeded(status) || absl::IsInvalidArgument(status);
  if ((!status.ok() && !wished) || code_ == kExitJobFailed) {
    if (temporary_ != nullptr) temporary_->Keep();
    terminal->Say(absl::StrCat("The programs' logs are in ", cluster_->log_dir()));
  }
  // What has begun and not ended, however that came.
  const bool left = unfinished_ || begun_ > results_.size();
  if (left || begun_ < work_.size()) return SayHowToGoOn(status);
  if (!options_.out.empty()) return;
  if (temporary_ == nullptr) {
    terminal->Say(absl::StrCat("Jobs and checkpoints are kept in ", cluster_->data_dir(),
                               "; --out FOLDER writes each job's last checkpoint as a file"));
  } else if (!temporary_->kept()) {
    terminal->Say(absl::StrCat(
        unsaved_.empty()
            ? "Only what stands above is kept"
            : absl::StrCat("Checkpoints are not kept: ", absl::StrJoin(unsaved_, ", ")),
        "; --out FOLDER keeps each job's last one as a file, --data-dir FOLDER keeps all"));
  } else {
    terminal->Say(absl::StrCat("Its jobs and checkpoints are in ", cluster_->data_dir(),
                               "; remove it when you no longer need it"));
  }
}

void Runner::SayHowToGoOn(const absl::Status& status) {
  Terminal* const terminal = session_->terminal;
  if (temporary_ != nullptr && has_checkpoint_) temporary_->Keep();
  const bool of_files = work_.front().file.has_value();
  // Of the folder's own jobs all have begun.
  const size_t begun = of_files ? begun_ : work_.size();
  const bool left = !of_files || unfinished_ || begun_ > results_.size();
  const std::string resume =
      absl::StrCat("evograd resume --data-dir ", Quoted(cluster_->data_dir()));
  std::vector<std::string> rest;
  for (size_t i = begun; i < work_.size(); ++i) rest.push_back(work_[i].file->file.path);
  if (begun > 0 && !rest.empty()) {
    terminal->Say(absl::StrCat("Not begun: ", absl::StrJoin(rest, ", ")));
  }
  const bool kept = temporary_ == nullptr || temporary_->kept();
  if (absl::IsInvalidArgument(status)) {
    // The same command would be refused again.
    if (left && kept) terminal->Say(absl::StrCat("To go on with what has begun: ", resume));
  } else if (!kept) {
    terminal->Say(
        "Nothing is kept, as there is no checkpoint yet; with --data-dir FOLDER a run can be "
        "resumed");
  } else if (!rest.empty()) {
    terminal->Say(absl::StrCat(work_.size() > 1 ? "To go on with all of them: " : "To go on: ",
                               SameCommand()));
  } else if (temporary_ == nullptr) {
    terminal->Say(absl::StrCat("To go on: the same command again, or ", resume));
  } else {
    terminal->Say(absl::StrCat(
        has_checkpoint_ ? "To go on from the last checkpoint: " : "To go on: ", resume));
  }
}

std::string Runner::SameCommand() const {
  std::vector<std::string> words = {"evograd", "run"};
  for (const std::string& file : session_->arguments.operands()) words.push_back(Quoted(file));
  for (const std::string flag : {"workers", "device", "out"}) {
    if (!session_->arguments.Has(flag)) continue;
    words.insert(words.end(), {"--" + flag, Quoted(session_->arguments.Get(flag, ""))});
  }
  words.insert(words.end(), {"--data-dir", Quoted(cluster_->data_dir())});
  return absl::StrJoin(words, " ");
}

}  // namespace evograd
