#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/printable.h"

namespace evograd {
namespace {

// Back to the line's beginning, and all of it away.
constexpr char kClearLine[] = "\r\x1b[K";

// What writing to the stream came to, by errno, which was 0 before.
int Flushed(std::ostream* stream) {
  *stream << std::flush;
  const int error = *stream ? 0 : errno != 0 ? errno : EIO;
  stream->clear();
  return error;
}

// Half a number would be another number.
std::string CutAfterWord(const std::string& line, size_t columns) {
  constexpr absl::string_view kMore = " ...";
  const size_t room = columns > kMore.size() ? columns - kMore.size() : 0;
  const size_t end = line.rfind(' ', room);
  return end == std::string::npos ? "" : absl::StrCat(line.substr(0, end), kMore);
}

std::string Fitting(std::vector<LiveField> fields, size_t columns) {
  while (true) {
    const std::string line = absl::StrJoin(
        fields, "  ", [](std::string* out, const LiveField& f) { absl::StrAppend(out, f.text); });
    // One column less: a full line would wrap.
    if (line.size() < columns) return line;
    const auto least =
        std::max_element(fields.begin(), fields.end(),
                         [](const LiveField& a, const LiveField& b) { return a.rank < b.rank; });
    if (least->rank == 0) return CutAfterWord(line, columns - 1);
    fields.erase(least);
  }
}

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
  int error;
  {
    absl::MutexLock lock(&mutex_);
    if (!live_line_.empty()) *chatter_ << kClearLine << std::flush;
    errno = 0;
    *results_ << Safe(text);
    error = Flushed(results_);
    if (error != 0 && write_error_ == 0) write_error_ = error;
    if (!live_line_.empty()) *chatter_ << live_line_ << std::flush;
  }
  Failed(error);
}

void Terminal::Say(absl::string_view line) {
  SayText(absl::StrReplaceAll(absl::StripSuffix(line, "\n"), {{"\n", "\n  "}}));
}

void Terminal::SayText(absl::string_view text) {
  int error;
  {
    absl::MutexLock lock(&mutex_);
    errno = 0;
    if (!live_line_.empty()) *chatter_ << kClearLine;
    *chatter_ << Safe(text) << "\n";
    if (!live_line_.empty()) *chatter_ << live_line_;
    error = Flushed(chatter_);
  }
  Failed(error);
}

std::string Terminal::Safe(absl::string_view text) const {
  std::string result;
  while (options_.color) {
    const size_t escape = text.find('\x1b');
    if (escape == absl::string_view::npos) break;
    absl::StrAppend(&result, Printable(text.substr(0, escape)));
    text.remove_prefix(escape);
    std::string own;
    for (int state = v1::JobState_MIN; state <= v1::JobState_MAX; ++state) {
      const std::string shown = State(static_cast<v1::JobState>(state));
      if (v1::JobState_IsValid(state) && absl::StartsWith(text, shown)) own = shown;
    }
    absl::StrAppend(&result, own.empty() ? Printable(text.substr(0, 1)) : own);
    text.remove_prefix(own.empty() ? 1 : own.size());
  }
  return absl::StrCat(result, Printable(text));
}

void Terminal::Failed(int error) {
  if (error != EPIPE || !closed_) return;
  {
    absl::MutexLock lock(&mutex_);
    if (told_closed_) return;
    told_closed_ = true;
  }
  closed_();
}

std::string Terminal::WriteError() const {
  absl::MutexLock lock(&mutex_);
  return write_error_ == 0 ? "" : std::strerror(write_error_);
}

void Terminal::SetLiveLine(std::vector<LiveField> fields) {
  if (!options_.live) return;
  absl::MutexLock lock(&mutex_);
  live_line_ = Fitting(std::move(fields), static_cast<size_t>(options_.columns));
  // What others wrote may have anything in it.
  for (char& c : live_line_) c = absl::ascii_isprint(c) ? c : ' ';
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
