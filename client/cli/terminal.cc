#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

// Back to the line's beginning, and all of it away.
constexpr char kClearLine[] = "\r\x1b[K";

}  // namespace

Terminal::Terminal(std::ostream* results, std::ostream* chatter, TerminalOptions options)
    : options_(options), results_(results), chatter_(chatter) {}

TerminalOptions Terminal::Detect() {
  TerminalOptions options;
  const char* type = std::getenv("TERM");
  const bool capable = type != nullptr && absl::string_view(type) != "dumb";
  const char* no_color = std::getenv("NO_COLOR");
  const bool color = capable && (no_color == nullptr || *no_color == '\0');
  options.live = capable && isatty(STDERR_FILENO);
  options.color = color && isatty(STDOUT_FILENO);
  winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    options.columns = size.ws_col;
  return options;
}

void Terminal::Print(absl::string_view text) {
  absl::MutexLock lock(&mutex_);
  if (!live_line_.empty()) *chatter_ << kClearLine << std::flush;
  *results_ << text << std::flush;
  if (!live_line_.empty()) *chatter_ << live_line_ << std::flush;
}

void Terminal::Say(absl::string_view line) {
  absl::MutexLock lock(&mutex_);
  if (!live_line_.empty()) *chatter_ << kClearLine;
  *chatter_ << line << "\n";
  if (!live_line_.empty()) *chatter_ << live_line_;
  *chatter_ << std::flush;
}

void Terminal::SetLiveLine(const std::string& line) {
  if (!options_.live) return;
  absl::MutexLock lock(&mutex_);
  // One column less: a full line would wrap. The line is ASCII.
  live_line_ = line.substr(0, options_.columns - 1);
  *chatter_ << kClearLine << live_line_ << std::flush;
}

void Terminal::ClearLiveLine() {
  absl::MutexLock lock(&mutex_);
  if (live_line_.empty()) return;
  live_line_.clear();
  *chatter_ << kClearLine << std::flush;
}

std::string Terminal::State(v1::JobState state) const {
  const std::string name = v1::JobState_Name(state);
  if (!options_.color) return name;
  const char* color = state == v1::SUCCEEDED ? "32"
                      : state == v1::FAILED  ? "31"
                      : state == v1::RUNNING ? "36"
                                             : "33";
  return absl::StrCat("\x1b[", color, "m", name, "\x1b[0m");
}

}  // namespace evograd
