// The verbs that talk to a coordinator.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/format.h"
#include "client/cli/job_files.h"
#include "client/cli/patience.h"
#include "client/cli/report.h"
#include "client/cli/session.h"
#include "client/cli/verbs.h"
#include "client/lib/job_state.h"
#include "client/lib/output_file.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "proto/evograd/v1/job_service.pb.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

// Of calls that only make a message or a description better.
constexpr absl::Duration kDetachTimeout = absl::Seconds(2);
constexpr absl::Duration kRecentTimeout = absl::Seconds(5);
// A description need not read a record of millions.
constexpr int64_t kRecentEvents = 2000;

// The first operand as a job's resource name.
std::string NamedJob(const Session& session) { return JobName(session.arguments.operands()[0]); }

// What Ctrl-C leaves behind, which may have ended in the meantime.
void SayDetached(Session* session, const v1::Job& job) {
  const std::string id = ShortName(job.name());
  const auto now = Client(ClientOptions{session->coordinator, kDetachTimeout}).GetJob(job.name());
  if (now.ok() && IsEnded(now->state())) {
    session->terminal->Say(absl::StrCat(job.name(), " has ended (", v1::JobState_Name(now->state()),
                                        "): evograd describe ", id));
    return;
  }
  session->terminal->Say(absl::StrCat("The job goes on. Watch it again: evograd watch ", id,
                                      "; end it: evograd cancel ", id));
}

// Those of a job's events after `after` that are wanted; fewer where they do not come soon.
std::vector<v1::Event> EventsAfter(Client* client, const v1::Job& job, int64_t after,
                                   const std::function<bool(const v1::Event&)>& wanted) {
  std::vector<v1::Event> events;
  const int64_t last = job.last_sequence();
  if (last == 0) return events;
  WatchOptions options;
  options.patience = absl::ZeroDuration();
  options.deadline = absl::Now() + kRecentTimeout;
  const std::unique_ptr<JobWatcher> watcher = client->Watch(job.name(), after, options);
  v1::Event event;
  while (watcher->sequence() < last) {
    const absl::StatusOr<bool> more = watcher->Next(&event);
    if (!more.ok() || !*more) break;
    if (wanted(event)) events.push_back(event);
  }
  return events;
}

// The last events of a job that lost workers.
std::vector<v1::Event> RecentEvents(Client* client, const v1::Job& job) {
  if (job.recoveries() + job.restarts() == 0) return {};
  return EventsAfter(client, job, std::max<int64_t>(0, job.last_sequence() - kRecentEvents),
                     [](const v1::Event&) { return true; });
}

// Where a better one was to be kept than the one marked as the best.
void SayUnstoredBest(Session* session, Client* client, const std::string& name) {
  const auto job = client->GetJob(name);
  if (!job.ok() || job->spec().keep_checkpoints().best_metric().empty()) return;
  const absl::StatusOr<v1::Checkpoint> best = client->BestCheckpoint(name);
  if (!best.ok() && !absl::IsNotFound(best.status())) return;
  const std::string text = UnstoredBest(
      job->spec().keep_checkpoints(),
      EventsAfter(client, *job, 0, [](const v1::Event& event) { return event.has_evaluated(); }),
      best.ok() ? &*best : nullptr);
  if (!text.empty()) session->terminal->Say(absl::StrCat(ShortName(name), ": ", text));
}

// Follows a job until its end or Ctrl-C; says how it ended; the exit code.
int FollowToEnd(Session* session, Client* client, const v1::Job& job, FollowOptions options) {
  Stopper stopper;
  const InterruptHandler handler(session->interrupts, [&] { stopper.Stop(); });
  options.deadline = session->Deadline();
  const absl::StatusOr<v1::Job> ended = Follow(client, job, options, session->terminal, &stopper);
  if (!ended.ok() && stopper.stopped()) {
    SayDetached(session, job);
    return kExitInterrupted;
  }
  if (!ended.ok()) return session->Fail(ended.status());
  if (!session->json) {
    session->terminal->Print(JobReport(*ended, session->terminal->State(ended->state())));
  } else if (options.show != FollowOptions::Show::kJsonLines) {
    session->terminal->Print(ToJson(*ended));
  }
  return ExitCodeOf(ended->state());
}

void SayNextSteps(const Session& session, const v1::Job& job) {
  const std::string id = ShortName(job.name());
  session.terminal->Say(absl::StrCat("watch: evograd watch ", id, "   cancel: evograd cancel ", id,
                                     "   all of it: evograd describe ", id));
}

// The checkpoint that is asked for: its step.
absl::StatusOr<int64_t> WantedStep(const Session& session, const std::string& job, Client* client) {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t step,
                           session.arguments.GetInt("step", -1, 0, limits::kMaxSteps));
  const bool best = session.arguments.Has("best");
  if (best && step >= 0) {
    return absl::InvalidArgumentError("--best and --step name two checkpoints; give one of them");
  }
  if (step >= 0) return step;
  EVOGRAD_ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint,
                           best ? client->BestCheckpoint(job) : client->LastCheckpoint(job));
  return checkpoint.step();
}

absl::Status DownloadStep(Session* session, const std::string& job, int64_t step, Client* client) {
  const std::string name = CheckpointFileName(job, step);
  // Where it cannot go is told before it comes.
  EVOGRAD_ASSIGN_OR_RETURN(const auto file,
                           OutputFile::Open(PathIn(session->arguments.Get("out", name), name)));
  EVOGRAD_ASSIGN_OR_RETURN(
      const v1::Checkpoint checkpoint,
      client->DownloadCheckpoint(absl::StrCat(job, "/checkpoints/", step), file.get()));
  if (!file->is_standard_output()) {
    session->terminal->Print(session->json ? ToJson(checkpoint) : absl::StrCat(file->path(), "\n"));
  }
  session->terminal->Say(
      absl::StrCat(FormatBytes(checkpoint.size_bytes()), ", sha256 ", checkpoint.sha256()));
  return absl::OkStatus();
}

}  // namespace

int SubmitVerb(Session* session) {
  const auto files = ReadAndCheck(session->arguments.operands());
  if (!files.ok()) return session->Fail(files.status());
  const JobFile& file = files->front().file;
  const std::string id = session->arguments.Get("name", file.job_id);
  if (session->arguments.Has("name")) {
    // The coordinator cannot know that it is not the file's.
    const auto wrong = CheckJobId(id);
    if (wrong.has_value()) {
      return session->Fail(
          absl::InvalidArgumentError(absl::StrCat("--name: ", wrong->description)));
    }
  }
  Client client = session->MakeClient();
  const bool dry_run = session->arguments.Has("dry-run");
  const bool wait = session->arguments.Has("wait");
  if (dry_run && wait) {
    return session->Fail(
        absl::InvalidArgumentError("--dry-run submits nothing for --wait to wait for"));
  }
  const auto job = dry_run ? client.ValidateJob(id, file.spec) : client.CreateJob(id, file.spec);
  if (!job.ok()) return session->Fail(file.Locate(job.status()));
  if (dry_run) {
    session->terminal->Print(session->json ? ToJson(*job) : ToYaml(job->spec(), 0));
    return kExitOk;
  }
  if (!session->json) {
    session->terminal->Print(absl::StrCat(job->name(), "\n"));
  } else if (!wait) {
    session->terminal->Print(ToJson(*job));
  }
  if (wait) return FollowToEnd(session, &client, *job, {});
  SayNextSteps(*session, *job);
  return kExitOk;
}

int ListVerb(Session* session) {
  const auto limit = session->arguments.GetInt("limit", limits::kDefaultPageSize, 1,
                                               std::numeric_limits<int>::max());
  if (!limit.ok()) return session->Fail(limit.status());
  std::vector<v1::Job> jobs;
  Client client = session->MakeClient();
  const absl::Status status = client.ForEachJob([&](const v1::Job& job) {
    jobs.push_back(job);
    return static_cast<int64_t>(jobs.size()) < *limit;
  });
  if (!status.ok()) return session->Fail(status);
  if (session->json) {
    v1::ListJobsResponse response;
    for (const v1::Job& job : jobs) *response.add_jobs() = job;
    session->terminal->Print(ToJson(response));
  } else if (jobs.empty()) {
    session->terminal->Say("There are no jobs yet; submit one: evograd submit FILE");
  } else {
    KnownTimes known;
    known.served_since = ServedSince(&client);
    session->terminal->Print(JobsTable(jobs, absl::Now(), known));
  }
  return kExitOk;
}

int DescribeVerb(Session* session) {
  Client client = session->MakeClient();
  const auto job = client.GetJob(NamedJob(*session));
  if (!job.ok()) return session->Fail(job.status());
  if (session->json) {
    session->terminal->Print(ToJson(*job));
    return kExitOk;
  }
  std::vector<v1::Checkpoint> checkpoints;
  const absl::Status status =
      client.ForEachCheckpoint(job->name(), [&](const v1::Checkpoint& checkpoint) {
        checkpoints.push_back(checkpoint);
        return true;
      });
  if (!status.ok()) return session->Fail(status);
  KnownTimes known;
  known.served_since = ServedSince(&client);
  const absl::Time now = absl::Now();
  session->terminal->Print(JobDescription(*job, checkpoints,
                                          StepsBack(RecentEvents(&client, *job), now),
                                          session->terminal->State(job->state()), now, known));
  return kExitOk;
}

int WatchVerb(Session* session) {
  const auto after = session->arguments.GetInt("after", 0, 0, std::numeric_limits<int64_t>::max());
  if (!after.ok()) return session->Fail(after.status());
  Client client = session->MakeClient();
  const auto job = client.GetJob(NamedJob(*session));
  if (!job.ok()) return session->Fail(job.status());
  FollowOptions options;
  options.after_sequence = *after;
  if (session->json) options.show = FollowOptions::Show::kJsonLines;
  return FollowToEnd(session, &client, *job, options);
}

int WaitVerb(Session* session) {
  Client client = session->MakeClient();
  const auto job = client.GetJob(NamedJob(*session));
  if (!job.ok()) return session->Fail(job.status());
  FollowOptions options;
  options.show = FollowOptions::Show::kNothing;
  options.after_sequence = job->last_sequence();
  return FollowToEnd(session, &client, *job, options);
}

int CancelVerb(Session* session) {
  const auto job = session->MakeClient().CancelJob(NamedJob(*session));
  if (!job.ok()) return session->Fail(job.status());
  const std::string line =
      absl::StrCat(job->name(), " ", session->terminal->State(job->state()), ": ", job->reason());
  session->terminal->Print(session->json ? ToJson(*job) : FormatTable({{line}}));
  return kExitOk;
}

int WorkersVerb(Session* session) {
  v1::ListWorkersResponse response;
  const absl::Status status = session->MakeClient().ForEachWorker([&](const v1::Worker& worker) {
    *response.add_workers() = worker;
    return true;
  });
  if (!status.ok()) return session->Fail(status);
  if (session->json) {
    session->terminal->Print(ToJson(response));
  } else if (response.workers().empty()) {
    session->terminal->Say(absl::StrCat("No worker is connected; start one: worker --coordinator=",
                                        session->coordinator));
  } else {
    session->terminal->Print(
        WorkersTable({response.workers().begin(), response.workers().end()}, absl::Now()));
  }
  return kExitOk;
}

int CheckpointsVerb(Session* session) {
  v1::ListCheckpointsResponse response;
  const std::string job = NamedJob(*session);
  Client client = session->MakeClient();
  const absl::Status status = client.ForEachCheckpoint(job, [&](const v1::Checkpoint& checkpoint) {
    *response.add_checkpoints() = checkpoint;
    return true;
  });
  if (!status.ok()) return session->Fail(status);
  if (session->json) {
    session->terminal->Print(ToJson(response));
  } else if (response.checkpoints().empty()) {
    const auto full = client.GetJob(job);
    if (!full.ok()) return session->Fail(full.status());
    session->terminal->Say(NoCheckpoints(*full));
  } else {
    session->terminal->Print(CheckpointsTable(
        {response.checkpoints().begin(), response.checkpoints().end()}, absl::Now()));
  }
  SayUnstoredBest(session, &client, job);
  return kExitOk;
}

int DownloadVerb(Session* session) {
  const std::string job = NamedJob(*session);
  Client client = session->MakeClient();
  const absl::Status status =
      FetchChosen([&] { return WantedStep(*session, job, &client); },
                  [&](int64_t step) { return DownloadStep(session, job, step, &client); });
  if (session->arguments.Has("best")) SayUnstoredBest(session, &client, job);
  return status.ok() ? kExitOk : session->Fail(status);
}

}  // namespace evograd
