#include "tests/cli/command.h"

#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace evograd {
namespace {

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

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
  return {ExitCode(status), Read(out), Read(err)};
}

bool IsJson(const std::string& text) {
  const std::string path = WriteFile("document.json", text);
  return std::system(("python3 -m json.tool " + path + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace evograd
