// Goal: `evograd run` shows what its jobs come to and loses no work: what is stopped goes on, and
// what is kept, or not, is said. Method: the program as a process, with a real coordinator and real
// workers.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/evograd/v1/job.pb.h"
#include "tests/cli/command.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Ends after some steps, or only when it is told to; with checkpoints often, or at the end alone.
constexpr char kShort[] = "problem: {toy1d: {x_at_optimum: true}}\nsteps: 20\nmax_workers: 1\n";
constexpr char kEndless[] =
    "problem: {toy1d: {x_at_optimum: true}}\nsteps: 2000000000\nmax_workers: 1\n"
    "checkpoint_interval_seconds: 0\n";
constexpr char kOften[] = "checkpoint_interval_steps: 2000\n";
constexpr char kFailing[] = "problem: {rotation: {data_dir: /none}}\nsteps: 20\nmax_workers: 1\n";

v1::Job ReadJob(const std::string& json) {
  v1::Job job;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &job).ok()) << json;
  return job;
}

std::vector<std::string> RunCommand(const std::vector<std::string>& words) {
  std::vector<std::string> all = {"run", "--workers", "1", "--device", "cpu"};
  all.insert(all.end(), words.begin(), words.end());
  return EvogradCommand(all);
}

Outcome RunFiles(const std::string& words) {
  return Evograd("run --workers 1 --device cpu " + words);
}

// A folder for temporary ones, for as long as the object lives.
class TemporaryPlace {
 public:
  explicit TemporaryPlace(const std::string& name) : path_(TestPath(name)) {
    std::filesystem::create_directory(path_);
    setenv("TMPDIR", path_.c_str(), 1);
  }
  ~TemporaryPlace() { unsetenv("TMPDIR"); }
  const std::string& path() const { return path_; }
  bool empty() const { return std::filesystem::is_empty(path_); }
  // The one folder in it.
  std::string Only() const {
    EXPECT_FALSE(empty());
    return empty() ? "" : std::filesystem::directory_iterator(path_)->path().string();
  }

 private:
  const std::string path_;
};

TEST(RunTest, JobsOneAfterAnotherAndCompared) {
  const std::string one = WriteFile("one.yaml", absl::StrCat("name: job-one\n", kShort));
  const std::string two =
      WriteFile("second.yaml", absl::StrCat(kShort, "estimator: {kind: t1t2}\n"));
  const Outcome outcome = Evograd(absl::StrCat("run ", one, " ", two, " --workers 1 --device cpu"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("jobs/job-one\n"), HasSubstr("\nJOB "),
                                 HasSubstr("\njob-one  evograd "), HasSubstr("\nsecond   t1t2 ")));
  EXPECT_THAT(outcome.err, HasSubstr("20/20  train "));

  const Outcome json = Evograd(absl::StrCat("run ", one, " --workers 2 --device cpu -o json"));
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_THAT(json.out, HasSubstr("\"parametersSha256\": \""));
  EXPECT_EQ(ReadJob(json.out).state(), v1::SUCCEEDED);
}

TEST(RunTest, KeepsLastCheckpoints) {
  const std::string job = WriteFile("kept.yaml", kShort);
  const std::string folder = TestPath("new/folder");
  const std::string run = absl::StrCat("run --workers 1 --device cpu ", job, " --out ");
  const Outcome kept = Evograd(absl::StrCat(run, folder));
  EXPECT_EQ(kept.exit_code, 0) << kept.err;
  const std::string file = absl::StrCat(folder, "/kept-20.safetensors");
  EXPECT_THAT(kept.err, HasSubstr(file));
  EXPECT_THAT(ReadText(file), HasSubstr("\"parameters.")) << "not a checkpoint";

  const Outcome nowhere = Evograd(absl::StrCat(run, job, "/under-a-file"));
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere.err;
  EXPECT_THAT(nowhere.err, AllOf(HasSubstr("--out"), HasSubstr("under-a-file")));
  EXPECT_THAT(nowhere.err, Not(HasSubstr("Starting a coordinator")));
}

TEST(RunTest, KeepsTheBestCheckpointToo) {
  // The last one is not both the least and the greatest.
  std::string said;
  for (const std::string least : {"true", "false"}) {
    const std::string job = WriteFile(
        "best.yaml", absl::StrCat(kShort, "evaluation_interval_steps: 5\n",
                                  "keep_checkpoints: {best_metric: x, least: ", least, "}\n"));
    const Outcome kept = RunFiles(absl::StrCat(job, " --out ", TestPath("best")));
    EXPECT_EQ(kept.exit_code, 0) << kept.err;
    EXPECT_THAT(kept.err, HasSubstr(TestPath("best") + "/best-20.safetensors"));
    absl::StrAppend(&said, kept.err);
  }
  EXPECT_THAT(said, HasSubstr(", the best\n"));
}

TEST(RunTest, Failures) {
  const Outcome failed =
      Evograd(absl::StrCat("run --workers 1 --device cpu ", WriteFile("fail.yaml", kFailing)));
  EXPECT_EQ(failed.exit_code, 7) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("logs are in "));
  const Outcome no_device =
      Evograd(absl::StrCat("run --workers 1 --device cuda:99 ", WriteFile("d.yaml", kShort)));
  EXPECT_EQ(no_device.exit_code, 1);
  EXPECT_THAT(no_device.err,
              AllOf(HasSubstr("worker local-1 ended with exit code"), HasSubstr("cuda:99")));
}

TEST(RunTest, SaysWhatIsNotKept) {
  const TemporaryPlace place("not-kept");
  const Outcome outcome = RunFiles(WriteFile("not-kept-job.yaml", kShort));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("Checkpoints are not kept: jobs/not-kept-job (step 20, "),
                    HasSubstr("--out FOLDER keeps"), HasSubstr("--data-dir FOLDER")));
  EXPECT_TRUE(place.empty());
  const std::string data = TestPath("kept-data");
  const Outcome kept = RunFiles(WriteFile("not-kept-job.yaml", kShort) + " --data-dir " + data);
  EXPECT_THAT(kept.err, HasSubstr("Jobs and checkpoints are kept in " + data));
}

TEST(RunTest, CtrlCLeavesAJobThatGoesOn) {
  const std::string data = TestPath("going-on");
  const std::string file =
      WriteFile("going-on-job.yaml", absl::StrCat(kEndless, kOften, "name: going-on-job\n"));
  Running run("going-on-1", RunCommand({file, "--data-dir", data}));
  run.WaitForText("checkpoint at step");
  EXPECT_EQ(run.Interrupt(SIGINT), "ended with exit code 130") << run.output();
  EXPECT_THAT(run.output(), AllOf(HasSubstr("jobs/going-on-job has "),
                                  HasSubstr("its last checkpoint is of step "),
                                  HasSubstr("To go on: the same command again, or evograd resume "
                                            "--data-dir " +
                                            data),
                                  Not(HasSubstr("CANCELLED"))));

  Running again("going-on-2", RunCommand({file, "--data-dir", data}));
  again.WaitForText("jobs/going-on-job of this folder goes on; it has ");
  again.WaitForText("checkpoint at step");
  EXPECT_EQ(again.Interrupt(SIGTERM), "ended with exit code 130") << again.output();

  Running resume("going-on-3", EvogradCommand({"resume", "--data-dir", data, "--device", "cpu",
                                               "--timeout", "10m"}));
  resume.WaitForText("jobs/going-on-job of this folder goes on; it has ");
  resume.WaitForText("checkpoint at step");
  // Cancelling is another thing.
  const std::string address(absl::StripAsciiWhitespace(ReadText(data + "/address")));
  EXPECT_EQ(Evograd("cancel going-on-job --coordinator " + address).exit_code, 0);
  EXPECT_EQ(resume.WaitForEnd(), "ended with exit code 8") << resume.output();
  const Outcome cancelled = RunFiles(file + " --data-dir " + data);
  EXPECT_EQ(cancelled.exit_code, 8) << cancelled.err;
  EXPECT_THAT(cancelled.err, HasSubstr("To run it anew, give it another `name`"));
}

TEST(RunTest, TheSameFileAgainShowsWhatItCameTo) {
  const std::string data = TestPath("again");
  const std::string file = WriteFile("again-job.yaml", kShort);
  const Outcome first = RunFiles(file + " -o json --data-dir " + data);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const Outcome second = RunFiles(file + " -o json --data-dir " + data);
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(ReadJob(second.out).uid(), ReadJob(first.out).uid());
  EXPECT_THAT(second.err, HasSubstr("jobs/again-job of this folder has ended before"));

  WriteFile("again-job.yaml", absl::StrCat(kShort, "seed: 7\nestimator: {population: 4}\n"));
  const Outcome other = RunFiles(file + " --data-dir " + data);
  EXPECT_EQ(other.exit_code, 2) << other.err;
  EXPECT_THAT(other.err,
              AllOf(HasSubstr("estimator.population (2 there, 4 here)"),
                    HasSubstr("seed (none there, 7 here)"), HasSubstr("another `name`")));
}

TEST(RunTest, FilesOfOneNameAreTwoJobs) {
  std::filesystem::create_directory(TestPath("one"));
  std::filesystem::create_directory(TestPath("two"));
  const Outcome outcome = RunFiles(absl::StrCat(WriteFile("one/Twin_job.yaml", kShort), " ",
                                                WriteFile("two/Twin_job.yaml", kShort)));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("\ntwin-job "), HasSubstr("\ntwin-job-2 ")));
}

TEST(RunTest, ATemporaryFolderStaysForItsCheckpointAlone) {
  const TemporaryPlace place("stays");
  Running none("stays-1", RunCommand({WriteFile("no-checkpoint.yaml", kEndless)}));
  none.WaitForText("train ");
  EXPECT_EQ(none.Interrupt(SIGINT), "ended with exit code 130") << none.output();
  EXPECT_THAT(none.output(), AllOf(HasSubstr("it has no checkpoint yet"),
                                   HasSubstr("Nothing is kept, as there is no checkpoint yet")));
  EXPECT_TRUE(place.empty());

  Running run("stays-2",
              RunCommand({WriteFile("checkpoint.yaml", absl::StrCat(kEndless, kOften))}));
  run.WaitForText("checkpoint at step");
  EXPECT_EQ(run.Interrupt(SIGINT), "ended with exit code 130") << run.output();
  const std::string resume = "evograd resume --data-dir " + place.Only();
  EXPECT_THAT(run.output(), HasSubstr("To go on from the last checkpoint: " + resume));
  Running resumed("stays-3",
                  EvogradCommand({"resume", "--data-dir", place.Only(), "--device", "cpu"}));
  resumed.WaitForText("checkpoint at step");
  // An end by force leaves it too.
  EXPECT_EQ(resumed.Interrupt(SIGKILL), "was killed by signal 9 (Killed)");
  EXPECT_FALSE(place.empty());
}

TEST(RunTest, ATimeoutLeavesAJobThatGoesOn) {
  const std::string data = TestPath("timed");
  const Outcome late = RunFiles(
      absl::StrCat("--timeout 5s ", WriteFile("timed-job.yaml", kEndless), " --data-dir ", data));
  EXPECT_EQ(late.exit_code, 6) << late.err;
  EXPECT_THAT(late.err, HasSubstr("or evograd resume --data-dir " + data));
}

TEST(RunTest, AFileThatWaitsBehindAnotherJobIsToldWhy) {
  const std::string data = TestPath("behind");
  Running first("behind-1",
                RunCommand({WriteFile("first-job.yaml", kEndless), "--data-dir", data}));
  first.WaitForText("train ");
  first.Interrupt(SIGKILL);
  Running second("behind-2",
                 RunCommand({WriteFile("other-job.yaml", absl::StrCat(kEndless, "seed: 2\n")),
                             "--data-dir", data}));
  second.WaitForText("This folder has unfinished jobs, which go on too: jobs/first-job (");
  // Whichever has the worker: the one that is followed computes, or says what it waits for.
  second.WaitFor([](const std::string& text) {
    return absl::StrContains(text, "other-job: waits: ") ||
           absl::StrContains(text, "other-job: 1/2000000000");
  });
  EXPECT_EQ(second.Interrupt(SIGINT), "ended with exit code 130") << second.output();
}

}  // namespace
}  // namespace evograd
