// Runs the command as its users do, and says what came of it.
//
//   const Outcome outcome = Evograd("list -o json --coordinator " + address);
//   EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
//
// Threads: Evograd from any, all else from one.
#ifndef EVOGRAD_TESTS_CLI_COMMAND_H_
#define EVOGRAD_TESTS_CLI_COMMAND_H_

#include <string>

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

// Whether Python's reader takes it for one JSON document.
bool IsJson(const std::string& text);

}  // namespace evograd

#endif  // EVOGRAD_TESTS_CLI_COMMAND_H_
