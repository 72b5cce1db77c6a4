// Goal: signals that the command was told to ignore change nothing, the others end it in order, and
// no end leaves a temporary folder behind. Method: the program as a process with a real
// coordinator; in place of the worker a script that does nothing, as no step is needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/testing/connect_as.h"
#include "tests/cli/command.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kJob[] = "problem: {toy1d: {}}\nsteps: 20\n";

std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.push_back(entry.path().string());
  }
  return files;
}

// Of the process: what it has started.
std::vector<pid_t> Children(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& task :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", parent, "/task"))) {
    const std::string text = ReadText(task.path().string() + "/children");
    for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
      int child = 0;
      if (absl::SimpleAtoi(word, &child)) children.push_back(child);
    }
  }
  return children;
}

bool Ignores(pid_t process, int signal) {
  for (absl::string_view line :
       absl::StrSplit(ReadText(absl::StrCat("/proc/", process, "/status")), '\n')) {
    if (!absl::ConsumePrefix(&line, "SigIgn:\t")) continue;
    return (std::stoull(std::string(line), nullptr, 16) >> (signal - 1) & 1) != 0;
  }
  return false;
}

// The TCP sockets at which the processes listen, as the kernel numbers them.
std::vector<std::string> ListeningPorts(const std::vector<pid_t>& processes) {
  std::vector<std::string> found;
  for (const pid_t process : processes) {
    std::set<std::string> sockets;
    for (const auto& file :
         std::filesystem::directory_iterator(absl::StrCat("/proc/", process, "/fd"))) {
      std::error_code gone;
      sockets.insert(std::filesystem::read_symlink(file, gone));
    }
    for (const char* table : {"/net/tcp", "/net/tcp6"}) {
      const std::string text = ReadText(absl::StrCat("/proc/", process, table));
      for (absl::string_view line : absl::StrSplit(text, '\n')) {
        const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipWhitespace());
        constexpr char kListen[] = "0A";
        if (words.size() > 9 && words[3] == kListen &&
            sockets.count(absl::StrCat("socket:[", words[9], "]")) > 0) {
          found.push_back(words[1]);
        }
      }
    }
  }
  return found;
}

// The programs in a folder of their own, the worker a script that waits for a line in a FIFO.
class SignalsTest : public ::testing::Test {
 protected:
  SignalsTest()
      : name_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
        programs_(TestPath(name_ + "-bin")),
        temporary_(TestPath(name_ + "-tmp")),
        fifo_(programs_ + "/fifo") {
    std::filesystem::create_directory(programs_);
    std::filesystem::create_directory(temporary_);
    std::filesystem::create_symlink(std::filesystem::absolute("server/coordinator"),
                                    programs_ + "/coordinator");
    EXPECT_EQ(mkfifo(fifo_.c_str(), 0600), 0);
    std::ofstream(programs_ + "/worker") << "#!/bin/sh\nread line <" << fifo_ << "\n";
    EXPECT_EQ(chmod((programs_ + "/worker").c_str(), 0700), 0);
    setenv("EVOGRAD_BIN_DIR", programs_.c_str(), 1);
    setenv("TMPDIR", temporary_.c_str(), 1);
  }
  ~SignalsTest() override {
    unsetenv("EVOGRAD_BIN_DIR");
    unsetenv("TMPDIR");
  }

  // A coordinator that stays; its address.
  std::unique_ptr<Running> Up(const std::string& listen, std::string* address,
                              const std::string& ignored = "", bool insecure = false) {
    std::vector<std::string> words = {
        "up", "--workers", "0", "--listen", listen, "--data-dir", TestPath(name_ + "-data")};
    if (insecure) words.push_back("--insecure");
    std::vector<std::string> command = EvogradCommand(words);
    if (!ignored.empty()) command = Ignoring(ignored, command);
    auto up = std::make_unique<Running>(absl::StrCat(name_, "-up-", ++ups_), command);
    const std::string text = up->WaitForText("\n");
    *address = text.substr(0, text.find('\n'));
    return up;
  }

  std::vector<std::string> Run(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> words = {
        "run", WriteFile(name_ + ".yaml", kJob), "--workers", "1", "--device", "cpu"};
    words.insert(words.end(), flags.begin(), flags.end());
    return EvogradCommand(words);
  }
  std::vector<std::string> Hypergradient() {
    return EvogradCommand({"hypergradient", WriteFile(name_ + ".yaml", kJob), "--device", "cpu",
                           "--out", TestPath(name_ + ".safetensors")});
  }

  const std::string name_;
  const std::string programs_;
  const std::string temporary_;
  const std::string fifo_;
  int ups_ = 0;
};

TEST_F(SignalsTest, WaitingVerbsIgnoreWhatTheyWereToldToIgnore) {
  std::string address;
  const auto up = Up("127.0.0.1:0", &address);
  const std::string file = WriteFile(name_ + ".yaml", kJob);
  const std::string at = " --coordinator " + address;
  ASSERT_EQ(Evograd("submit --name waited-for " + file + at).exit_code, 0);
  const std::vector<std::vector<std::string>> verbs = {
      {"wait", "waited-for", "--coordinator", address},
      {"watch", "waited-for", "--coordinator", address},
      {"submit", "--wait", "--name", "waited-too", file, "--coordinator", address}};
  std::vector<std::unique_ptr<Running>> waiting;
  for (const auto& verb : verbs) {
    waiting.push_back(std::make_unique<Running>(absl::StrCat(name_, "-", verb[0]),
                                                Ignoring("HUP INT", EvogradCommand(verb))));
    waiting.back()->WaitUntilItServes();
    waiting.back()->Signal(SIGHUP);
    waiting.back()->Signal(SIGINT);
  }
  WaitUntil([&] { return Evograd("describe waited-too" + at).exit_code == 0; });
  EXPECT_EQ(Evograd("cancel waited-for" + at).exit_code, 0);
  EXPECT_EQ(Evograd("cancel waited-too" + at).exit_code, 0);
  for (const auto& process : waiting) {
    EXPECT_EQ(process->WaitForEnd(), "ended with exit code 8") << process->output();
  }
  // Their twin, which was told nothing.
  ASSERT_EQ(Evograd("submit --name waited-last " + file + at).exit_code, 0);
  Running watch(name_ + "-twin",
                EvogradCommand({"watch", "waited-last", "--coordinator", address}));
  watch.WaitForText("waits: ");
  EXPECT_EQ(watch.Interrupt(SIGHUP), "ended with exit code 130") << watch.output();
}

TEST_F(SignalsTest, UpAndItsProgramsIgnoreWhatTheyWereToldToIgnore) {
  std::string address;
  const auto up = Up("127.0.0.1:0", &address, "HUP INT");
  up->WaitUntilItServes();
  up->Signal(SIGHUP);
  up->Signal(SIGINT);
  const std::vector<pid_t> children = Children(up->pid());
  ASSERT_THAT(children, SizeIs(1));
  EXPECT_TRUE(Ignores(children[0], SIGHUP));
  EXPECT_EQ(Evograd("list --coordinator " + address).exit_code, 0);
  EXPECT_EQ(up->Interrupt(SIGTERM), "ended with exit code 0") << up->output();
}

TEST_F(SignalsTest, UpServesOthersWhenItIsToldTo) {
  std::string address;
  const auto up = Up("0.0.0.0:0", &address, "", /*insecure=*/true);
  EXPECT_EQ(Evograd("list --coordinator " + address).exit_code, 0);
  EXPECT_EQ(up->Interrupt(SIGTERM), "ended with exit code 0") << up->output();
}

TEST_F(SignalsTest, UpSaysWhoCanUseIt) {
  std::string address;
  const auto up = Up("127.0.0.1:0", &address);
  up->WaitForText("Every user of this machine can use it; with --listen unix:/PATH only you can.");
  EXPECT_EQ(up->Interrupt(SIGTERM), "ended with exit code 0") << up->output();
}

// In a folder whose name is short, wherever the test runs.
TEST_F(SignalsTest, UpListensAtASocketWhenItIsToldTo) {
  std::string folder = "/tmp/evograd-test-XXXXXX";
  ASSERT_NE(mkdtemp(&folder[0]), nullptr);
  const std::string socket = "unix:" + folder + "/socket";
  std::string address;
  const auto up = Up(socket, &address);
  EXPECT_EQ(address, socket);
  EXPECT_EQ(Evograd("list --coordinator " + socket).exit_code, 0);
  EXPECT_EQ(up->Interrupt(SIGTERM), "ended with exit code 0") << up->output();
  EXPECT_THAT(up->output(), Not(HasSubstr("can use it")));
  EXPECT_EQ(Evograd("list --coordinator " + socket).exit_code, 5);
  std::filesystem::remove_all(folder);
}

TEST_F(SignalsTest, NobodyElseReachesTheCoordinatorOfARun) {
  const std::string data = TestPath(name_ + "-data");
  Running run(name_, Run({"--data-dir", data}));
  run.WaitForText("Waiting for workers: 0 of 1");
  std::string address = ReadText(data + "/address");
  address.pop_back();
  ASSERT_EQ(address.substr(0, 5), "unix:");
  const std::string socket = address.substr(5);
  EXPECT_EQ(Evograd("list --coordinator " + address).exit_code, 0);
  struct stat info;
  ASSERT_EQ(lstat(socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
  const std::string folder = std::filesystem::path(socket).parent_path();
  ASSERT_EQ(lstat(folder.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
  EXPECT_EQ(info.st_uid, geteuid());
  EXPECT_THAT(ListeningPorts(Children(run.pid())), IsEmpty());
  // Its rights say the same where the test cannot be another user.
  if (geteuid() == 0) {
    EXPECT_EQ(testing::ConnectAs(65534, socket), EACCES);
  }
  EXPECT_EQ(testing::ConnectAs(geteuid(), socket), 0);
  EXPECT_EQ(run.Interrupt(SIGTERM), "ended with exit code 130") << run.output();
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(SignalsTest, RunIgnoresWhatItWasToldToIgnore) {
  Running run(name_, Ignoring("HUP INT", Run()));
  run.WaitForText("Starting a coordinator");
  run.Signal(SIGHUP);
  run.Signal(SIGINT);
  run.WaitForText("Waiting for workers: 0 of 1");
  EXPECT_EQ(run.Interrupt(SIGTERM), "ended with exit code 130") << run.output();
}

TEST_F(SignalsTest, HypergradientIgnoresWhatItWasToldToIgnore) {
  Running process(name_, Ignoring("HUP INT", Hypergradient()));
  process.WaitUntilItServes();
  WaitUntil([&] { return !std::filesystem::is_empty(temporary_); });
  process.Signal(SIGHUP);
  process.Signal(SIGINT);
  std::ofstream(fifo_) << "end\n";
  EXPECT_EQ(process.WaitForEnd(), "ended with exit code 0") << process.output();
  EXPECT_THAT(FilesIn(temporary_), IsEmpty());
}

TEST_F(SignalsTest, NoEndLeavesATemporaryFolder) {
  for (const int signal : {SIGHUP, SIGTERM, SIGINT, SIGKILL}) {
    Running run(absl::StrCat(name_, "-run-", signal), Run());
    run.WaitForText("Waiting for workers");
    EXPECT_THAT(FilesIn(temporary_), SizeIs(1));
    run.Interrupt(signal);
    // What the process leaves, another one removes.
    WaitUntil([&] { return FilesIn(temporary_).empty(); });

    Running hypergradient(absl::StrCat(name_, "-hypergradient-", signal), Hypergradient());
    WaitUntil(
        [&] { return !Children(hypergradient.pid()).empty() && !FilesIn(temporary_).empty(); });
    hypergradient.Interrupt(signal);
    WaitUntil([&] { return FilesIn(temporary_).empty(); });
  }
  Running twice(name_ + "-twice", Run());
  twice.WaitForText("Waiting for workers");
  twice.Signal(SIGINT);
  twice.Signal(SIGINT);
  twice.WaitForEnd();
  WaitUntil([&] { return FilesIn(temporary_).empty(); });
}

TEST_F(SignalsTest, AClosedPipeIsAnOrderlyEnd) {
  std::string command = "client/cli/evograd";
  const std::vector<std::string> words = Run();
  for (size_t i = 1; i < words.size(); ++i) absl::StrAppend(&command, " ", words[i]);
  // The reader goes after the first line; the next line has none.
  const std::string code = TestPath("code");
  Running run(name_, {"/bin/sh", "-c",
                      absl::StrCat("(", command, " 2>&1; echo $? >", code, ") | head -n 1")});
  run.WaitForEnd();
  WaitUntil([&] { return !ReadText(code).empty(); });
  EXPECT_EQ(ReadText(code), "130\n");
  EXPECT_THAT(FilesIn(temporary_), IsEmpty());
}

TEST_F(SignalsTest, OutputThatIsLostIsAnError) {
  for (const std::string words : {"version", "help", "help exit-codes"}) {
    Running full(absl::StrCat(name_, words.size()),
                 {"/bin/sh", "-c", absl::StrCat("client/cli/evograd ", words, " >/dev/full")});
    EXPECT_EQ(full.WaitForEnd(), "ended with exit code 1");
    EXPECT_THAT(full.output(), HasSubstr("No space left on device"));
  }
}

TEST_F(SignalsTest, AnOrderlyRestartOfTheCoordinatorIsWaitedFor) {
  std::string address;
  auto up = Up("127.0.0.1:0", &address);
  const std::string at = " --coordinator " + address;
  ASSERT_EQ(Evograd("submit --name kept-job " + WriteFile(name_ + ".yaml", kJob) + at).exit_code,
            0);
  std::vector<std::unique_ptr<Running>> waiting;
  for (const std::string verb : {"watch", "wait"}) {
    waiting.push_back(
        std::make_unique<Running>(absl::StrCat(name_, "-", verb),
                                  EvogradCommand({verb, "kept-job", "--coordinator", address})));
    waiting.back()->WaitUntilItServes();
  }
  waiting[0]->WaitForText("kept-job: waits: ");
  EXPECT_EQ(up->Interrupt(SIGTERM), "ended with exit code 0") << up->output();
  waiting[0]->WaitForText("no coordinator answers at " + address + "; trying again");
  up = Up(address, &address);
  EXPECT_EQ(Evograd("cancel kept-job" + at).exit_code, 0);
  for (const auto& process : waiting) {
    EXPECT_EQ(process->WaitForEnd(), "ended with exit code 8") << process->output();
    EXPECT_THAT(process->output(), HasSubstr("jobs/kept-job"));
  }
}

TEST_F(SignalsTest, RunWaitsForItsOwnCoordinatorHoweverLongItsRestartTakes) {
  // Its restarts fail for longer than a call is repeated.
  const std::string starts = programs_ + "/starts", coordinator = programs_ + "/coordinator";
  std::filesystem::rename(coordinator, programs_ + "/real");
  std::ofstream(coordinator) << "#!/bin/sh\necho >>" << starts << "\ncase $(wc -l <" << starts
                             << ") in [2-5]) exit 1;; esac\nexec " << programs_ << "/real \"$@\"\n";
  ASSERT_EQ(chmod(coordinator.c_str(), 0700), 0);
  Running run(name_, Run());
  run.WaitForText("Waiting for workers: 0 of 1");
  for (const pid_t child : Children(run.pid())) {
    const std::string command = ReadText(absl::StrCat("/proc/", child, "/cmdline"));
    if (absl::StrContains(command, "--data_dir=")) kill(child, SIGKILL);
  }
  WaitUntil([&] { return ReadText(starts).size() == 6; });
  EXPECT_EQ(run.Interrupt(SIGTERM), "ended with exit code 130") << run.output();
  EXPECT_THAT(run.output(), Not(HasSubstr("no coordinator answers")));
}

TEST_F(SignalsTest, ASocketThatIsRemovedEndsARunThatNeedsIt) {
  const std::string data = TestPath(name_ + "-data");
  Running run(name_, Run({"--data-dir", data}));
  run.WaitForText("Waiting for workers: 0 of 1");
  std::string socket = ReadText(data + "/address").substr(5);
  socket.pop_back();
  ASSERT_TRUE(std::filesystem::remove(socket)) << socket;
  for (const pid_t child : Children(run.pid())) {
    const std::string command = ReadText(absl::StrCat("/proc/", child, "/cmdline"));
    if (absl::StrContains(command, "--worker_id=")) kill(child, SIGKILL);
  }
  EXPECT_EQ(run.WaitForEnd(), "ended with exit code 1") << run.output();
  EXPECT_THAT(run.output(),
              AllOf(HasSubstr("the socket " + socket + " of the coordinator was removed"),
                    HasSubstr("To go on: evograd run " + TestPath(name_ + ".yaml"))));
}

TEST_F(SignalsTest, AStoppedRunOfSeveralFilesSaysHowAllGoOn) {
  const std::string data = TestPath(name_ + "-data"), other = WriteFile("it's two.yaml", kJob);
  Running run(name_, Run({other, "--data-dir", data}));
  run.WaitForText("Waiting for workers: 0 of 1");
  EXPECT_EQ(run.Interrupt(SIGINT), "ended with exit code 130") << run.output();
  EXPECT_THAT(run.output(),
              HasSubstr(absl::StrCat("To go on with all of them: evograd run ",
                                     TestPath(name_ + ".yaml"), " '", TestPath("it'\\''s two.yaml"),
                                     "' --workers 1 --device cpu --data-dir ", data, "\n")));
}

TEST_F(SignalsTest, WhatIsRefusedIsNotToBeTypedAgain) {
  std::string address;
  auto up = Up("127.0.0.1:0", &address);
  const std::string file = WriteFile(name_ + ".yaml", kJob);
  ASSERT_EQ(Evograd("submit --name my-job " + file + " --coordinator " + address).exit_code, 0);
  up->Interrupt(SIGTERM);
  const std::string wrong = WriteFile("wrong.yaml", absl::StrCat("name: my-job\nseed: 3\n", kJob));
  const Outcome outcome =
      Evograd("run --device cpu --data-dir " + TestPath(name_ + "-data ") + wrong);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("has a jobs/my-job with other settings"),
                                 Not(HasSubstr("To go on")), Not(HasSubstr("Not begun"))));
}

// Before it serves it closes more connections than a call is repeated.
TEST_F(SignalsTest, ResumeWaitsForACoordinatorThatIsBusy) {
  std::string address;
  auto up = Up("127.0.0.1:0", &address);
  up->Interrupt(SIGTERM);
  const std::string coordinator = programs_ + "/coordinator";
  std::filesystem::rename(coordinator, programs_ + "/real");
  std::ofstream(coordinator) << "#!/usr/bin/env python3\n"
                             << "import os, socket, sys\n"
                             << "flags = dict(w.split('=', 1) for w in sys.argv[1:] if '=' in w)\n"
                             << "path = flags['--listen'][len('unix:'):]\n"
                             << "busy = socket.socket(socket.AF_UNIX)\n"
                             << "busy.bind(path)\n"
                             << "busy.listen()\n"
                             << "with open(flags['--port_file'], 'w') as file:\n"
                             << "  file.write(flags['--listen'] + '\\n')\n"
                             << "for _ in range(8): busy.accept()[0].close()\n"
                             << "busy.close()\n"
                             << "os.execv('" << programs_ << "/real', sys.argv)\n";
  ASSERT_EQ(chmod(coordinator.c_str(), 0700), 0);
  const Outcome resumed = Evograd("resume --data-dir " + TestPath(name_ + "-data"));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("Every job of"));
}

TEST_F(SignalsTest, ResumeNamesFoldersWithoutWork) {
  const Outcome none = Evograd("resume --data-dir " + temporary_);
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, HasSubstr(temporary_ + " has no jobs"));
  EXPECT_THAT(FilesIn(temporary_), IsEmpty());
  EXPECT_EQ(Evograd("resume").exit_code, 2);

  std::string address;
  auto up = Up("127.0.0.1:0", &address);
  const std::string at = " --coordinator " + address;
  ASSERT_EQ(Evograd("submit --name ended-job " + WriteFile(name_ + ".yaml", kJob) + at).exit_code,
            0);
  ASSERT_EQ(Evograd("cancel ended-job" + at).exit_code, 0);
  up->Interrupt(SIGTERM);
  const Outcome ended = Evograd("resume --data-dir " + TestPath(name_ + "-data"));
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("has ended"));
  EXPECT_THAT(ended.out, HasSubstr("ended-job  CANCELLED"));
}

}  // namespace
}  // namespace evograd
