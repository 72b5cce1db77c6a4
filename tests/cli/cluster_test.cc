// Goal: every verb does what its help says, on a real coordinator and real workers. Method:
// `evograd up` as a process, and the other verbs beside it.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/evograd/v1/job_service.pb.h"
#include "spec/job_file.h"
#include "tests/cli/command.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Ends after some steps, or only when it is told to.
constexpr char kShort[] = "problem: {toy1d: {x_at_optimum: true}}\nsteps: 20\nmax_workers: 1\n";
constexpr char kEndless[] =
    "problem: {toy1d: {x_at_optimum: true}}\nsteps: 2000000000\nmax_workers: 1\n";
constexpr char kFailing[] = "problem: {rotation: {data_dir: /none}}\nsteps: 20\nmax_workers: 1\n";

v1::Job ReadJob(const std::string& json) {
  v1::Job job;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &job).ok()) << json;
  return job;
}

class UpTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    up_ = new Running("up", EvogradCommand({"up", "--workers", "1", "--device", "cpu", "--listen",
                                            "127.0.0.1:0", "--data-dir", TestPath("data")}));
    const std::string text =
        up_->WaitFor([](const std::string& text) { return absl::StrContains(text, "\n"); });
    address_ = new std::string(text.substr(0, text.find('\n')));
  }
  // SIGTERM ends all of it, in order.
  static void TearDownTestSuite() {
    EXPECT_EQ(up_->Interrupt(SIGTERM), "ended with exit code 0") << up_->output();
    EXPECT_EQ(Evograd("list --coordinator " + *address_).exit_code, 5);
    delete up_;
    delete address_;
  }

  Outcome Verb(const std::string& arguments) {
    return Evograd(absl::StrCat(arguments, " --coordinator ", *address_));
  }

  void Submit(const std::string& name, const std::string& text) {
    const Outcome outcome =
        Verb(absl::StrCat("submit ", WriteFile(name + ".yaml", text), " --name ", name));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.out, absl::StrCat("jobs/", name, "\n"));
  }

  static Running* up_;
  static std::string* address_;
};

Running* UpTest::up_ = nullptr;
std::string* UpTest::address_ = nullptr;

TEST_F(UpTest, AJobFromSubmissionToDownload) {
  Submit("short-job", kShort);
  const Outcome waited = Verb("wait short-job");
  EXPECT_EQ(waited.exit_code, 0) << waited.err;
  EXPECT_THAT(waited.out,
              AllOf(HasSubstr("jobs/short-job"), HasSubstr("SUCCEEDED"), HasSubstr("20 of 20")));

  const v1::Job job = ReadJob(Verb("describe short-job -o json").out);
  EXPECT_EQ(job.state(), v1::SUCCEEDED);
  EXPECT_EQ(job.committed_steps(), 20);
  EXPECT_EQ(job.spec().estimator().population(), 2);
  EXPECT_EQ(job.parameters_sha256().size(), 64);
  EXPECT_THAT(Verb("describe jobs/short-job").out, HasSubstr("  steps: 20\n"));

  const Outcome list = Verb("list");
  EXPECT_THAT(list.out, AllOf(StartsWith("NAME"), HasSubstr("short-job")));
  const Outcome json = Verb("list -o json");
  EXPECT_TRUE(IsJson(json.out)) << json.out;
  EXPECT_THAT(json.out, HasSubstr("\"name\": \"jobs/short-job\""));

  EXPECT_THAT(Verb("checkpoints short-job").out, HasSubstr("jobs/short-job/checkpoints/20"));
  EXPECT_TRUE(IsJson(Verb("checkpoints short-job -o json").out));
  const std::string path = TestPath("final.checkpoint");
  const Outcome download = Verb("download short-job --out " + path);
  EXPECT_EQ(download.exit_code, 0) << download.err;
  EXPECT_EQ(download.out, path + "\n");
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(Verb("download short-job --step 7 --out " + path).exit_code, 3);
}

TEST_F(UpTest, WatchShowsEveryEventOnce) {
  Submit("watched-job", kShort);
  const Outcome watched = Verb("watch watched-job");
  EXPECT_EQ(watched.exit_code, 0) << watched.err;
  EXPECT_THAT(watched.err, HasSubstr("watched-job: 20/20  train "));
  EXPECT_THAT(watched.out, HasSubstr("SUCCEEDED"));

  const Outcome lines = Verb("watch watched-job -o json");
  EXPECT_EQ(lines.exit_code, 0);
  int64_t sequence = 0;
  for (absl::string_view line : absl::StrSplit(lines.out, '\n', absl::SkipEmpty())) {
    v1::Event event;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(std::string(line), &event).ok())
        << line;
    EXPECT_EQ(event.sequence(), ++sequence);
  }
  EXPECT_GT(sequence, 3);
  const Outcome rest = Verb(absl::StrCat("watch watched-job -o json --after ", sequence - 1));
  EXPECT_EQ(std::count(rest.out.begin(), rest.out.end(), '\n'), 1) << rest.out;
}

TEST_F(UpTest, NamesAreTakenOnce) {
  Submit("taken-name", kShort);
  const Outcome again =
      Verb(absl::StrCat("submit ", WriteFile("again.yaml", kShort), " --name taken-name"));
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("taken-name"));
  const Outcome chosen = Verb("submit " + WriteFile("again.yaml", kShort));
  EXPECT_EQ(chosen.exit_code, 0) << chosen.err;
  EXPECT_THAT(chosen.out, StartsWith("jobs/"));
  const Outcome bad = Verb(absl::StrCat("submit ", WriteFile("again.yaml", kShort), " --name Bad"));
  EXPECT_EQ(bad.exit_code, 2);
}

TEST_F(UpTest, ADryRunPrintsAJobFileAndMakesNothing) {
  const Outcome dry =
      Verb(absl::StrCat("submit --dry-run --name dry-run ", WriteFile("dry.yaml", kShort)));
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  const auto file = ParseJobFile(dry.out, "dry.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->spec.estimator().population(), 2);
  EXPECT_EQ(Verb("describe dry-run").exit_code, 3);
}

TEST_F(UpTest, CancelTimeoutAndDetaching) {
  Submit("endless-job", kEndless);
  EXPECT_EQ(Verb("wait endless-job --timeout 200ms").exit_code, 6);
  Running watch("watch", EvogradCommand({"watch", "endless-job", "--coordinator", *address_}));
  watch.WaitFor([](const std::string& text) { return absl::StrContains(text, "train "); });
  EXPECT_EQ(watch.Interrupt(SIGINT), "ended with exit code 130");
  EXPECT_THAT(watch.output(), HasSubstr("The job goes on"));
  EXPECT_EQ(ReadJob(Verb("describe endless-job -o json").out).state(), v1::RUNNING);
  const Outcome workers = Verb("workers");
  EXPECT_THAT(workers.out, AllOf(HasSubstr("local-1"), HasSubstr("endless-job")));
  EXPECT_TRUE(IsJson(Verb("workers -o json").out));

  const Outcome cancelled = Verb("cancel endless-job -o json");
  EXPECT_EQ(cancelled.exit_code, 0) << cancelled.err;
  EXPECT_EQ(ReadJob(cancelled.out).state(), v1::CANCELLED);
  EXPECT_EQ(Verb("wait endless-job").exit_code, 8);
  Submit("ended-job", kShort);
  EXPECT_EQ(Verb("wait ended-job").exit_code, 0);
  EXPECT_EQ(Verb("cancel ended-job").exit_code, 1);
}

TEST_F(UpTest, AFailedJobSaysWhy) {
  const Outcome failed =
      Verb(absl::StrCat("submit --wait --name failing-job ", WriteFile("f.yaml", kFailing)));
  EXPECT_EQ(failed.exit_code, 7) << failed.err;
  EXPECT_THAT(failed.out, AllOf(HasSubstr("FAILED"), HasSubstr("/none")));
}

TEST_F(UpTest, UnknownThingsAreNotFound) {
  for (const std::string verb :
       {"describe", "watch", "wait", "cancel", "checkpoints", "download"}) {
    const Outcome outcome = Verb(verb + " no-such-job");
    EXPECT_EQ(outcome.exit_code, 3) << verb << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("no-such-job")) << verb;
  }
}

TEST(HypergradientTest, WritesAFile) {
  const std::string out = TestPath("step.safetensors");
  const Outcome outcome = Evograd(
      absl::StrCat("hypergradient ", WriteFile("h.yaml", kShort), " --device cpu --out ", out));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(std::filesystem::exists(out));
  const std::string folder = TestPath("hypergradients");
  std::filesystem::create_directory(folder);
  const std::string to =
      absl::StrCat("hypergradient ", WriteFile("h.yaml", kShort), " --device cpu --out ");
  const Outcome named = Evograd(to + folder);
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_EQ(named.out, folder + "/job-h-hypergradient.safetensors\n");
  EXPECT_EQ(ReadText(folder + "/job-h-hypergradient.safetensors"), ReadText(out));
  EXPECT_EQ(Evograd(to + "-").out, ReadText(out));
  const Outcome nowhere = Evograd(to + folder + "/none/x");
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("there is no folder " + folder + "/none/"));
  EXPECT_EQ(Evograd(absl::StrCat("hypergradient ", WriteFile("h.yaml", kShort))).exit_code, 2);
  const Outcome failed = Evograd(
      absl::StrCat("hypergradient ", WriteFile("h.yaml", kFailing), " --device cpu --out ", out));
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, HasSubstr("/none"));
}

}  // namespace
}  // namespace evograd
