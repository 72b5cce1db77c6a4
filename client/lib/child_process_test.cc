// Goal: children run, end, are killed and described as they should be. Method: the shell as the
// child.
#include "client/lib/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/testing/small_disk.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

std::string Path(const std::string& name) {
  return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
}

std::unique_ptr<ChildProcess> Shell(const std::string& script, const std::string& output) {
  auto child = ChildProcess::Start({"/bin/sh", "-c", script}, output);
  EXPECT_TRUE(child.ok()) << child.status();
  return child.ok() ? *std::move(child) : nullptr;
}

TEST(ChildProcessTest, OutputAndExitCode) {
  const std::string output = Path("out");
  const auto child = Shell("echo one; echo two >&2; exit 3", output);
  ASSERT_TRUE(child->WaitForEnd(absl::InfiniteDuration()));
  EXPECT_EQ(child->Ending(), "ended with exit code 3");
  EXPECT_FALSE(child->succeeded());
  EXPECT_FALSE(child->killed_by_signal());
  EXPECT_EQ(child->LastOutput(10), "  one\n  two\n");
  EXPECT_EQ(child->LastOutput(1), "  two\n");
  const auto good = Shell("exit 0", output);
  ASSERT_TRUE(good->WaitForEnd(absl::InfiniteDuration()));
  EXPECT_TRUE(good->succeeded());
}

TEST(ChildProcessTest, ItIsQuotedWithoutWhatOthersWroteBefore) {
  const std::string output = Path("shared");
  for (const char* words : {"first", "second"}) {
    const auto child = Shell(absl::StrCat("echo ", words, "; exit 1"), output);
    ASSERT_TRUE(child->WaitForEnd(absl::InfiniteDuration()));
    EXPECT_EQ(child->LastOutput(10), absl::StrCat("  ", words, "\n"));
    EXPECT_EQ(child->exit_code(), 1);
  }
  std::stringstream all;
  all << std::ifstream(output).rdbuf();
  EXPECT_EQ(all.str(), "first\nsecond\n");
  const auto silent = Shell("exit 0", output);
  ASSERT_TRUE(silent->WaitForEnd(absl::InfiniteDuration()));
  EXPECT_EQ(silent->LastOutput(10), "");
}

TEST(ChildProcessTest, ItIsQuotedOnAFullDisk) {
  testing::SmallDisk disk(Path("disk"));
  if (!disk.mounted()) GTEST_SKIP() << disk.why_not();
  const std::string gate = Path("gate");
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  const auto early =
      Shell(absl::StrCat("cat ", gate, "; echo early words; exit 1"), Path("disk/early"));
  ASSERT_TRUE(disk.Fill("theirs"));
  std::ofstream(gate.c_str());
  const auto late = Shell("echo late words; exit 1", Path("disk/late"));
  for (ChildProcess* child : {early.get(), late.get()})
    ASSERT_TRUE(child->WaitForEnd(absl::InfiniteDuration()));
  EXPECT_EQ(early->LastOutput(10), "  early words\n");
  EXPECT_EQ(late->LastOutput(10), "  late words\n");
}

TEST(ChildProcessTest, SignalsEndIt) {
  const auto child = Shell("exec cat /dev/zero >/dev/null", Path("out"));
  EXPECT_FALSE(child->WaitForEnd(absl::ZeroDuration()));
  child->Signal(SIGKILL);
  pollfd ended = {child->ended_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, -1), 1);
  ASSERT_TRUE(child->WaitForEnd(absl::InfiniteDuration()));
  EXPECT_EQ(child->Ending(), "was killed by signal 9 (Killed)");
  EXPECT_TRUE(child->killed_by_signal());
}

TEST(ChildProcessTest, WhatThisProgramIgnoresItIgnores) {
  for (const int signal : {SIGINT, SIGHUP, SIGQUIT}) {
    for (const bool ignored : {true, false}) {
      const auto before = std::signal(signal, ignored ? SIG_IGN : SIG_DFL);
      const std::string output = Path(absl::StrCat("ignored-", signal, ignored));
      const auto child = Shell(absl::StrCat("kill -", signal, " $$; echo survived"), output);
      std::signal(signal, before);
      ASSERT_TRUE(child->WaitForEnd(absl::InfiniteDuration()));
      EXPECT_EQ(child->killed_by_signal(), !ignored) << signal;
      EXPECT_EQ(child->LastOutput(1), ignored ? "  survived\n" : "") << signal;
    }
  }
}

TEST(ChildProcessTest, LeavingItKillsIt) {
  pid_t pid;
  {
    const auto child = Shell("exec cat /dev/zero >/dev/null", Path("out"));
    pid = child->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(ChildProcessTest, WhatCannotBeStartedIsNamed) {
  const auto none = ChildProcess::Start({"/none/program"}, Path("out"));
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("/none/program: No such file"));
  const auto nowhere = ChildProcess::Start({"/bin/true"}, Path("none/out"));
  EXPECT_THAT(std::string(nowhere.status().message()), HasSubstr("none/out: No such file"));
}

TEST(ChildProcessTest, LongLinesAreQuotedFromTheirEnd) {
  const auto child = Shell("head -c 100000 /dev/zero | tr '\\0' x; echo; echo last", Path("long"));
  ASSERT_TRUE(child->WaitForEnd(absl::InfiniteDuration()));
  const std::string last = child->LastOutput(3);
  EXPECT_LE(last.size(), 8300);
  EXPECT_THAT(last, ::testing::EndsWith("x\n  last\n"));
}

}  // namespace
}  // namespace evograd
