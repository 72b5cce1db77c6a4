// `evograd`: see `evograd help`.
#include <signal.h>

#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/command_line.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupts.h"
#include "client/cli/temporary_folder.h"
#include "client/cli/terminal.h"
#include "client/lib/output_file.h"

int main(int argc, char** argv) {
  if (evograd::WasGuard(argc, argv)) return 0;
  // A pipe that nobody reads is an error of the write to it, so that the end is an orderly one.
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  // Where it is ignored the ends of children are lost.
  signal(SIGCHLD, SIG_DFL);
  // Before all else: threads started later inherit the blocked signals.
  evograd::Interrupts interrupts;
  interrupts.OnExit(evograd::OutputFile::RemoveUnfinished);
  evograd::Terminal terminal(&std::cout, &std::cerr, evograd::Terminal::Detect());
  if (before.sa_handler != SIG_IGN) {
    terminal.OnClosed([&interrupts] { interrupts.Interrupt(SIGPIPE); });
  }
  const int code = evograd::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc),
                                           &terminal, &interrupts);
  const std::string error = terminal.WriteError();
  if (error.empty()) return code;
  terminal.Say(absl::StrCat("evograd: the output could not be written: ", error));
  return code == evograd::kExitOk ? evograd::kExitGeneral : code;
}
