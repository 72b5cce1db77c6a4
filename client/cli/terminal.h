// Where the command writes: results to one stream, chatter to another, with what each can show.
// Nothing that others wrote (a job's name, a worker's reason) commands the terminal: it is made
// printable here (common/printable.h), whatever it is a part of.
//
// Threads: OnClosed before all else; the rest from any.
#ifndef EVOGRAD_CLIENT_CLI_TERMINAL_H_
#define EVOGRAD_CLIENT_CLI_TERMINAL_H_

#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "proto/evograd/v1/job.pb.h"

namespace evograd {

struct TerminalOptions {
  // Whether the chatter goes to a terminal: a line may be redrawn there.
  bool live = false;
  // Whether results may be coloured.
  bool color = false;
  int columns = 80;
};

// A part of the live line. Those of the highest rank go first where it is too long; those of rank 0
// stay, and are cut after a word where they alone are too long.
struct LiveField {
  std::string text;
  int rank;
};

class Terminal {
 public:
  Terminal(std::ostream* results, std::ostream* chatter, TerminalOptions options);
  // Of the process's standard outputs and environment (NO_COLOR, COLUMNS).
  static TerminalOptions Detect();

  // Called once, when a stream turns out to be a pipe that nobody reads any more.
  void OnClosed(std::function<void()> closed) { closed_ = std::move(closed); }
  // Why a result could not be written; empty while all were.
  std::string WriteError() const;

  // A result: to stdout.
  void Print(absl::string_view text);
  // A line of chatter: to stderr; above the live line where there is one. Further lines in it stand
  // further right, so that none passes for another message.
  void Say(absl::string_view line);
  // The same of several lines of our own.
  void SayText(absl::string_view text);
  // Replaces the live line by the fields that fit the terminal's width, in their order; where the
  // chatter is no terminal, nothing.
  void SetLiveLine(std::vector<LiveField> fields);
  // Takes the live line away.
  void ClearLiveLine();

  bool live() const { return options_.live; }
  int columns() const { return options_.columns; }
  // The state's name, coloured where results may be.
  std::string State(v1::JobState state) const;

 private:
  // What may be written of a text: all but states in our own colours is made printable.
  std::string Safe(absl::string_view text) const;
  // `error` as errno says it, 0 where all is well.
  void Failed(int error);

  const TerminalOptions options_;
  std::function<void()> closed_;
  mutable absl::Mutex mutex_;
  int write_error_ ABSL_GUARDED_BY(mutex_) = 0;
  bool told_closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::ostream* const results_ ABSL_PT_GUARDED_BY(mutex_);
  std::ostream* const chatter_ ABSL_PT_GUARDED_BY(mutex_);
  std::string live_line_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_TERMINAL_H_
