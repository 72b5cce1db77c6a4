// Runs the command as its users do, and says what came of it.
//
//   const Outcome outcome = Evograd("list -o json --coordinator " + address);
//   EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
//
//   Running watch("watch", EvogradCommand({"watch", "x", "--coordinator", address}));
//   watch.WaitFor([](const std::string& text) { return absl::StrContains(text, "train "); });
//   EXPECT_EQ(watch.Interrupt(SIGINT), "ended with exit code 130");
//
// Threads: Evograd from any, all else from one.
#ifndef EVOGRAD_TESTS_CLI_COMMAND_H_
#define EVOGRAD_TESTS_CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/lib/child_process.h"

namespace evograd {

struct Outcome {
  int exit_code;  // 128 + signal where it was killed
  std::string out;
  std::string err;
};

// `arguments` as one would type them in a shell, after `evograd`.
Outcome Evograd(const std::string& arguments);

// A file in the test's folder; its path.
std::string WriteFile(const std::string& name, const std::string& text);
std::string TestPath(const std::string& name);

// The file's text; empty where there is none.
std::string ReadText(const std::string& path);

// The words that start the command itself.
std::vector<std::string> EvogradCommand(const std::vector<std::string>& arguments);
// The same by a shell that ignores the signals ("HUP INT"), as nohup and & do.
std::vector<std::string> Ignoring(const std::string& signals,
                                  const std::vector<std::string>& command);

// A process whose outputs go to one file, NAME.log.
class Running {
 public:
  Running(const std::string& name, const std::vector<std::string>& command);

  // What it has written when that is as wanted; empty, and a failure, when it ended before.
  std::string WaitFor(const std::function<bool(const std::string&)>& wanted);
  std::string WaitForText(const std::string& text);
  // Until it is the command (not the shell before it) and looks after its signals.
  void WaitUntilItServes();

  void Signal(int signal) { process_->Signal(signal); }
  // How it ended.
  std::string WaitForEnd();
  // How it ended after the signal.
  std::string Interrupt(int signal);

  std::string output() const { return ReadText(output_); }
  pid_t pid() const { return process_->pid(); }

 private:
  const std::string output_;
  std::unique_ptr<ChildProcess> process_;
};

// Waits for something that must come and that nobody tells.
void WaitUntil(const std::function<bool()>& wanted);

// Whether Python's reader takes it for one JSON document.
bool IsJson(const std::string& text);

}  // namespace evograd

#endif  // EVOGRAD_TESTS_CLI_COMMAND_H_
