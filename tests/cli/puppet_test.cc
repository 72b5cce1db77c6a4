// Goal: the command waits, and says what it waits for, as its help promises, whatever the
// coordinator does. Method: the program as a process; a service in this process that answers as the
// test tells it.
#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"
#include "tests/cli/command.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kEnd[] = "all went well";
constexpr char kBytes[] = "abcdef";
constexpr char kSha256[] = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";

// One job. A watch of it sends nothing until the job is ended or the service told to let go.
class Puppet : public v1::JobService::Service {
 public:
  Puppet() {
    job_.set_name("jobs/puppet");
    job_.set_state(v1::RUNNING);
    job_.set_reason("computing on 1 worker");
    job_.set_committed_steps(7);
    job_.mutable_spec()->set_steps(100);
    job_.set_last_sequence(3);
    SetLastStep(absl::Now());
  }

  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* job) override {
    absl::MutexLock lock(&mutex_);
    if (job_failures_ > 0) {
      --job_failures_;
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
    }
    if (!refusal_.empty()) return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, refusal_);
    *job = job_;
    return grpc::Status::OK;
  }

  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::WatchJobResponse>* writer) override {
    {
      absl::MutexLock lock(&mutex_);
      asked_after_.push_back(request->after_sequence());
    }
    size_t sent = 0;
    writer->Write(v1::WatchJobResponse());
    while (!context->IsCancelled()) {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(this, &Puppet::HasNews), absl::Milliseconds(20));
      while (sent < events_.size()) {
        v1::WatchJobResponse response;
        *response.add_events() = events_[sent++];
        response.mutable_events(0)->set_sequence(request->after_sequence() + sent);
        writer->Write(response);
      }
      if (cut_) {
        cut_ = false;
        return grpc::Status::CANCELLED;
      }
      if (told_end_) return grpc::Status::OK;
    }
    return grpc::Status::CANCELLED;
  }

  grpc::Status ListWorkers(grpc::ServerContext* context, const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override {
    v1::Worker* worker = response->add_workers();
    worker->set_name("workers/w2");
    worker->set_state(v1::SET_ASIDE);
    worker->set_reason("cannot read /data; not used for 30 s");
    absl::MutexLock lock(&mutex_);
    if (connected_ != absl::InfinitePast()) {
      worker->mutable_connect_time()->set_seconds(absl::ToUnixSeconds(connected_));
    }
    return grpc::Status::OK;
  }

  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    absl::MutexLock lock(&mutex_);
    *response->add_jobs() = job_;
    return grpc::Status::OK;
  }

  grpc::Status ListCheckpoints(grpc::ServerContext* context,
                               const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    absl::MutexLock lock(&mutex_);
    for (const v1::Checkpoint& checkpoint : checkpoints_) {
      *response->add_checkpoints() = checkpoint;
    }
    return grpc::Status::OK;
  }

  grpc::Status DownloadCheckpoint(
      grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
      grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override {
    v1::DownloadCheckpointResponse response;
    {
      absl::MutexLock lock(&mutex_);
      ++downloads_;
      if (replacements_ > 0) {
        --replacements_;
        const int64_t newer = checkpoints_[0].step() + 1;
        checkpoints_[0].set_step(newer);
        checkpoints_[0].set_name(absl::StrCat("jobs/puppet/checkpoints/", newer));
      }
      for (const v1::Checkpoint& checkpoint : checkpoints_) {
        if (checkpoint.name() == request->name()) *response.mutable_checkpoint() = checkpoint;
      }
    }
    if (!response.has_checkpoint()) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such one");
    response.set_chunk(kBytes);
    writer->Write(response);
    // Held, for a client that is to be interrupted.
    while (held_ && !context->IsCancelled()) {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(this, &Puppet::HasNews), absl::Milliseconds(20));
    }
    return grpc::Status::OK;
  }

  // Of the two, `best` (a step) is the best one; 0: none is, and none was evaluated.
  void SetCheckpoints(int64_t best) {
    absl::MutexLock lock(&mutex_);
    checkpoints_.clear();
    for (const int64_t step : {7, 5}) {
      v1::Checkpoint checkpoint;
      checkpoint.set_name(absl::StrCat("jobs/puppet/checkpoints/", step));
      checkpoint.set_step(step);
      checkpoint.set_size_bytes(sizeof(kBytes) - 1);
      checkpoint.set_sha256(kSha256);
      checkpoint.set_best(step == best);
      if (best != 0) {
        (*checkpoint.mutable_evaluation()->mutable_metrics())["accuracy"] =
            step == best ? 0.875 : 0.5;
      }
      checkpoints_.push_back(checkpoint);
    }
  }
  void SetBestMetric(const std::string& metric) {
    absl::MutexLock lock(&mutex_);
    job_.mutable_spec()->mutable_keep_checkpoints()->set_best_metric(metric);
  }
  void HoldDownloads() { held_ = true; }
  // A newer checkpoint takes the place of the last one just before a download of it, so often.
  void ReplaceCheckpoints(int times) {
    absl::MutexLock lock(&mutex_);
    replacements_ = times;
  }
  int downloads() const {
    absl::MutexLock lock(&mutex_);
    return downloads_;
  }

  // The job has ended; its watches hear of it when `told`.
  void End(bool told) {
    absl::MutexLock lock(&mutex_);
    job_.set_state(v1::SUCCEEDED);
    job_.set_reason(kEnd);
    told_end_ = told;
  }
  // The next watch, or the present one, ends as in a coordinator that stops.
  void Cut() {
    absl::MutexLock lock(&mutex_);
    cut_ = true;
  }
  // Empty: no more.
  void RefuseJobs(const std::string& why) {
    absl::MutexLock lock(&mutex_);
    refusal_ = why;
  }
  void FailJobs(int times) {
    absl::MutexLock lock(&mutex_);
    job_failures_ = times;
  }
  void SetReason(v1::JobState state, const std::string& reason) {
    absl::MutexLock lock(&mutex_);
    job_.set_state(state);
    job_.set_reason(reason);
    told_end_ = false;
  }
  void SetLastStep(absl::Time time) {
    absl::MutexLock lock(&mutex_);
    job_.mutable_last_step_time()->set_seconds(absl::ToUnixSeconds(time));
  }
  void SetConnected(absl::Time time) {
    absl::MutexLock lock(&mutex_);
    connected_ = time;
  }
  void SetSurvived(int64_t recoveries) {
    absl::MutexLock lock(&mutex_);
    job_.set_recoveries(recoveries);
  }
  void Send(const v1::Event& event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(event);
  }
  std::vector<int64_t> asked_after() const {
    absl::MutexLock lock(&mutex_);
    return asked_after_;
  }

 private:
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return told_end_ || cut_; }

  mutable absl::Mutex mutex_;
  std::atomic<bool> held_{false};
  std::vector<v1::Checkpoint> checkpoints_ ABSL_GUARDED_BY(mutex_);
  int downloads_ ABSL_GUARDED_BY(mutex_) = 0;
  int replacements_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::Job job_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Event> events_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> asked_after_ ABSL_GUARDED_BY(mutex_);
  std::string refusal_ ABSL_GUARDED_BY(mutex_);
  absl::Time connected_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  int job_failures_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_end_ ABSL_GUARDED_BY(mutex_) = false;
};

class PuppetTest : public ::testing::Test {
 protected:
  PuppetTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&puppet_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  Outcome Verb(const std::string& arguments) {
    return Evograd(absl::StrCat(arguments, " --coordinator ", address_));
  }
  std::unique_ptr<Running> Start(const std::string& verb,
                                 const std::vector<std::string>& flags = {}) {
    std::vector<std::string> words = {verb, "puppet", "--coordinator", address_};
    words.insert(words.end(), flags.begin(), flags.end());
    return std::make_unique<Running>(
        absl::StrCat(verb, "-", ::testing::UnitTest::GetInstance()->current_test_info()->name()),
        EvogradCommand(words));
  }
  void WaitForWatch() {
    WaitUntil([&] { return !puppet_.asked_after().empty(); });
  }

  Puppet puppet_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

TEST_F(PuppetTest, WaitReadsNoHistory) {
  const auto wait = Start("wait");
  WaitForWatch();
  EXPECT_THAT(puppet_.asked_after(), ElementsAre(3));
  puppet_.End(true);
  EXPECT_EQ(wait->WaitForEnd(), "ended with exit code 0") << wait->output();
}

TEST_F(PuppetTest, AnEndedJobIsNotWatched) {
  puppet_.End(false);
  const Outcome wait = Verb("wait puppet");
  EXPECT_EQ(wait.exit_code, 0) << wait.err;
  EXPECT_THAT(wait.out, HasSubstr(kEnd));
  EXPECT_THAT(puppet_.asked_after(), IsEmpty());
}

TEST_F(PuppetTest, ATimeoutKnowsWhetherTheJobGoesOn) {
  const Outcome goes_on = Verb("wait puppet --timeout 2s");
  EXPECT_EQ(goes_on.exit_code, 6) << goes_on.err;
  EXPECT_THAT(goes_on.err, HasSubstr("goes on (RUNNING: computing on 1 worker)"));
  for (const std::string verb : {"wait", "watch"}) {
    puppet_.SetReason(v1::RUNNING, "computing on 1 worker");
    const size_t before = puppet_.asked_after().size();
    const auto late = Start(verb, {"--timeout", "3s"});
    WaitUntil([&] { return puppet_.asked_after().size() > before; });
    puppet_.End(false);
    EXPECT_EQ(late->WaitForEnd(), "ended with exit code 0") << late->output();
    EXPECT_THAT(late->output(), AllOf(HasSubstr(kEnd), Not(HasSubstr("goes on"))));
  }
  // Lines that are to be read by programs are all there or it is said.
  const Outcome lines = Verb("watch puppet -o json --timeout 3s");
  EXPECT_EQ(lines.exit_code, 6);
  EXPECT_THAT(lines.err, HasSubstr("has ended (SUCCEEDED), and not all of its events were shown"));
}

TEST_F(PuppetTest, CtrlCKnowsWhetherTheJobGoesOn) {
  const auto watch = Start("watch");
  WaitForWatch();
  puppet_.End(false);
  EXPECT_EQ(watch->Interrupt(SIGINT), "ended with exit code 130") << watch->output();
  EXPECT_THAT(watch->output(),
              AllOf(HasSubstr("has ended (SUCCEEDED)"), Not(HasSubstr("The job goes on"))));
}

TEST_F(PuppetTest, ACoordinatorThatStopsIsNotTakenForACancellation) {
  for (const std::string verb : {"wait", "watch"}) {
    puppet_.SetReason(v1::RUNNING, "computing on 1 worker");
    const size_t before = puppet_.asked_after().size();
    const auto waiting = Start(verb);
    WaitUntil([&] { return puppet_.asked_after().size() > before; });
    puppet_.Cut();
    WaitUntil([&] { return puppet_.asked_after().size() > before + 1; });
    // It is away at the job's end too, for longer than one call is repeated.
    puppet_.FailJobs(9);
    puppet_.End(true);
    EXPECT_EQ(waiting->WaitForEnd(), "ended with exit code 0") << waiting->output();
    EXPECT_THAT(waiting->output(), AllOf(HasSubstr(kEnd), Not(HasSubstr("CANCELLED"))));
  }
}

TEST_F(PuppetTest, WhatStandsStillSaysWhy) {
  puppet_.SetReason(v1::PENDING, "needs 2 workers, and 1 is free");
  const auto watch = Start("watch");
  watch->WaitForText("puppet: waits: needs 2 workers, and 1 is free");
  puppet_.SetReason(v1::RUNNING, "waiting for rank 1");
  puppet_.SetLastStep(absl::Now() - absl::Seconds(95));
  watch->WaitForText("s: waiting for rank 1");
  EXPECT_THAT(watch->output(), HasSubstr("puppet: no step for "));
  puppet_.SetReason(v1::RUNNING, "the checkpoint of step 5 cannot be stored: no space");
  watch->WaitForText("cannot be stored: no space");
  v1::Event notice;
  notice.mutable_notice()->set_text("worker set aside: cannot read /data");
  notice.mutable_notice()->set_worker("workers/w2");
  puppet_.Send(notice);
  watch->WaitForText("puppet: worker set aside: cannot read /data (w2)");

  EXPECT_THAT(Verb("list").out, AllOf(HasSubstr("no step for "), HasSubstr("no space")));
  puppet_.SetSurvived(2);
  EXPECT_THAT(Verb("describe puppet").out,
              AllOf(HasSubstr("RUNNING: no step for "), HasSubstr("\nlast step "),
                    HasSubstr("went on after losing a worker 2 times")));
  EXPECT_THAT(Verb("workers").out,
              AllOf(HasSubstr("SET_ASIDE"), HasSubstr("cannot read /data; not used for 30 s")));
  puppet_.End(true);
  EXPECT_EQ(watch->WaitForEnd(), "ended with exit code 0") << watch->output();
}

TEST_F(PuppetTest, WhatWasBeforeTheCoordinatorServedIsNoSilence) {
  puppet_.SetLastStep(absl::Now() - absl::Hours(5));
  EXPECT_THAT(Verb("list").out, HasSubstr("no step for 5h"));
  EXPECT_THAT(Verb("describe puppet").out, HasSubstr("no step for 5h"));
  puppet_.SetConnected(absl::Now() - absl::Minutes(10));
  EXPECT_THAT(Verb("list").out, HasSubstr("no step for 10m"));
  EXPECT_THAT(Verb("describe puppet").out, HasSubstr("no step for 10m"));
  EXPECT_THAT(Verb("wait puppet --timeout 1s").err, HasSubstr("no step for 10m"));
  const auto watch = Start("watch");
  watch->WaitForText("no step for 10m");
  puppet_.End(true);
  EXPECT_EQ(watch->WaitForEnd(), "ended with exit code 0") << watch->output();
}

TEST_F(PuppetTest, CheckpointsSayWhichIsTheBestAndItCanBeFetched) {
  puppet_.SetBestMetric("accuracy");
  puppet_.SetCheckpoints(5);
  const Outcome list = Verb("checkpoints puppet");
  EXPECT_EQ(list.exit_code, 0) << list.err;
  EXPECT_THAT(list.out, AllOf(HasSubstr("checkpoints/7  7     6 B"), HasSubstr("accuracy 50.00 %"),
                              HasSubstr("best  accuracy 87.50 %")));
  const std::string folder = TestPath("best");
  std::filesystem::create_directory(folder);
  const Outcome best = Verb(absl::StrCat("download puppet --best --out ", folder));
  EXPECT_EQ(best.exit_code, 0) << best.err;
  EXPECT_EQ(best.out, folder + "/puppet-5.safetensors\n");
  EXPECT_EQ(ReadText(folder + "/puppet-5.safetensors"), kBytes);
  // The twin: the last one.
  EXPECT_EQ(Verb(absl::StrCat("download puppet --out ", folder, "/")).out,
            folder + "/puppet-7.safetensors\n");
  EXPECT_EQ(Verb("download puppet --best --step 5").exit_code, 2);
}

TEST_F(PuppetTest, ADownloadOfTheLastCheckpointTakesANewerOneInItsPlace) {
  puppet_.SetCheckpoints(0);
  puppet_.ReplaceCheckpoints(2);
  const std::string folder = TestPath("downloads/");
  std::filesystem::create_directory(folder);
  const Outcome outcome = Verb("download puppet --out " + folder);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, folder + "puppet-9.safetensors\n");
  EXPECT_EQ(ReadText(folder + "puppet-9.safetensors"), kBytes);
  // Not in that of one that was asked for by its step.
  puppet_.ReplaceCheckpoints(1);
  EXPECT_EQ(Verb("download puppet --step 9 --out " + folder).exit_code, 3);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files += entry.exists();
  EXPECT_EQ(files, 1);
}

TEST_F(PuppetTest, WithoutABestCheckpointItIsSaidWhy) {
  puppet_.SetCheckpoints(0);
  const Outcome unwanted = Verb("download puppet --best");
  EXPECT_EQ(unwanted.exit_code, 3);
  EXPECT_THAT(unwanted.err, AllOf(HasSubstr("jobs/puppet does not keep its best checkpoint"),
                                  HasSubstr("keep_checkpoints: {best_metric: METRIC}")));
  puppet_.SetBestMetric("accuracy");
  const Outcome early = Verb("download puppet --best");
  EXPECT_EQ(early.exit_code, 3);
  EXPECT_THAT(early.err, HasSubstr("no best checkpoint yet: none was evaluated by accuracy"));
  // Of a job that has ended none is to come.
  puppet_.SetReason(v1::FAILED, "the loss is NaN");
  const Outcome late = Verb("download puppet --best");
  EXPECT_EQ(late.exit_code, 3);
  EXPECT_THAT(late.err, HasSubstr("jobs/puppet has ended without a best checkpoint: none was "
                                  "evaluated by accuracy"));
  EXPECT_EQ(puppet_.downloads(), 0);
}

TEST_F(PuppetTest, OfAJobThatHasEndedNoCheckpointIsToCome) {
  const auto said = [&](const std::string& words) {
    EXPECT_EQ(Verb("download puppet").exit_code, 3);
    EXPECT_THAT(Verb("download puppet").err, HasSubstr(words));
    EXPECT_THAT(Verb("checkpoints puppet").err, HasSubstr(words));
  };
  said("jobs/puppet has no checkpoints yet");
  puppet_.SetReason(v1::FAILED, "the loss is NaN");
  said("jobs/puppet has ended without a checkpoint");
}

TEST_F(PuppetTest, WhereADownloadCannotGoIsToldBeforeItComes) {
  puppet_.SetCheckpoints(5);
  for (const std::string& out : {TestPath("none/file"), TestPath("none/"), std::string("''")}) {
    const Outcome outcome = Verb("download puppet --out " + out);
    EXPECT_NE(outcome.exit_code, 0) << out;
    EXPECT_EQ(puppet_.downloads(), 0) << out;
    EXPECT_FALSE(std::filesystem::exists(TestPath("none")));
  }
  const Outcome piped = Verb("download puppet --out -");
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_EQ(piped.out, kBytes);
  EXPECT_FALSE(std::filesystem::exists("-"));
}

TEST_F(PuppetTest, AnInterruptedDownloadLeavesNothing) {
  puppet_.SetCheckpoints(5);
  puppet_.HoldDownloads();
  const std::string folder = TestPath("interrupted");
  std::filesystem::create_directory(folder);
  const auto download = Start("download", {"--out", folder + "/file"});
  WaitUntil([&] { return puppet_.downloads() > 0; });
  EXPECT_EQ(download->Interrupt(SIGINT), "ended with exit code 130") << download->output();
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(PuppetTest, WhatOthersWroteIsShownAndNotObeyed) {
  const std::string hostile = "\x1b[2J\xc2\x9b\x33\x31m \xe2\x80\xae\nevograd: all is well";
  puppet_.SetReason(v1::PENDING, hostile);
  const auto watch = Start("watch");
  watch->WaitForText("puppet: waits: \\u001b[2J\\u009b31m \\u202e\n  evograd: all is well\n");
  for (const std::string verb : {"list", "describe puppet", "list -o json"}) {
    const Outcome outcome = Verb(verb);
    EXPECT_EQ(outcome.exit_code, 0) << verb << outcome.err;
    EXPECT_THAT(outcome.out, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\xc2\x9b")),
                                   Not(HasSubstr("\xe2\x80\xae")), Not(HasSubstr("\nevograd:"))))
        << verb;
    if (verb == "list -o json") {
      EXPECT_TRUE(IsJson(outcome.out)) << outcome.out;
    }
  }
  puppet_.RefuseJobs(hostile + "\xff");
  const Outcome refused = Verb("describe puppet");
  EXPECT_THAT(refused.err, AllOf(HasSubstr("\\u001b[2J"), HasSubstr("\n  evograd: all is well"),
                                 Not(HasSubstr("\x1b")), Not(HasSubstr("\xff"))));
  puppet_.RefuseJobs("");
  puppet_.End(true);
  EXPECT_EQ(watch->WaitForEnd(), "ended with exit code 0") << watch->output();
}

}  // namespace
}  // namespace evograd
