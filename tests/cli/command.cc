#include "tests/cli/command.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace evograd {
namespace {

constexpr int kPauseMs = 20;

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::string TestPath(const std::string& name) {
  return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
}

std::string WriteFile(const std::string& name, const std::string& text) {
  std::ofstream(TestPath(name)) << text;
  return TestPath(name);
}

Outcome Evograd(const std::string& arguments) {
  static std::atomic<int> runs{0};
  const std::string run = std::to_string(++runs);
  const std::string out = TestPath("stdout-" + run), err = TestPath("stderr-" + run);
  const int status = std::system(
      ("client/cli/evograd " + arguments + " >" + out + " 2>" + err + " </dev/null").c_str());
  return {ExitCode(status), ReadText(out), ReadText(err)};
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> EvogradCommand(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {std::filesystem::absolute("client/cli/evograd")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

std::vector<std::string> Ignoring(const std::string& signals,
                                  const std::vector<std::string>& command) {
  std::vector<std::string> words = {"/bin/sh", "-c", "trap '' " + signals + "; exec \"$0\" \"$@\""};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

Running::Running(const std::string& name, const std::vector<std::string>& command)
    : output_(TestPath(name + ".log")) {
  // As at a terminal, wherever the test was started from.
  for (const int number : {SIGINT, SIGHUP}) signal(number, SIG_DFL);
  auto process = ChildProcess::Start(command, output_);
  EXPECT_TRUE(process.ok()) << process.status();
  process_ = *std::move(process);
}

std::string Running::WaitFor(const std::function<bool(const std::string&)>& wanted) {
  while (true) {
    const bool ended = process_->WaitForEnd(absl::Milliseconds(kPauseMs));
    const std::string text = ReadText(output_);
    if (wanted(text)) return text;
    if (ended) break;
  }
  ADD_FAILURE() << process_->Ending() << "\n" << ReadText(output_);
  return "";
}

std::string Running::WaitForText(const std::string& text) {
  return WaitFor([&](const std::string& all) { return absl::StrContains(all, text); });
}

void Running::WaitUntilItServes() {
  const std::string process = absl::StrCat("/proc/", pid());
  // It has a thread for signals, begun before anything else.
  WaitUntil([&] {
    std::error_code error;
    const auto program = std::filesystem::read_symlink(process + "/exe", error);
    std::filesystem::directory_iterator threads(process + "/task", error), end;
    return program.filename() == "evograd" && std::distance(threads, end) > 1;
  });
}

std::string Running::WaitForEnd() {
  process_->WaitForEnd(absl::InfiniteDuration());
  return process_->Ending();
}

std::string Running::Interrupt(int signal) {
  Signal(signal);
  return WaitForEnd();
}

void WaitUntil(const std::function<bool()>& wanted) {
  while (!wanted()) poll(nullptr, 0, kPauseMs);
}

bool IsJson(const std::string& text) {
  const std::string path = WriteFile("document.json", text);
  return std::system(("python3 -m json.tool " + path + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace evograd
