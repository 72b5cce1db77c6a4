// `evograd`: see `evograd help`.
#include <iostream>
#include <string>
#include <vector>

#include "client/cli/command_line.h"
#include "client/cli/interrupts.h"
#include "client/cli/terminal.h"

int main(int argc, char** argv) {
  // First: threads started later inherit the blocked signals.
  evograd::Interrupts interrupts;
  evograd::Terminal terminal(&std::cout, &std::cerr, evograd::Terminal::Detect());
  return evograd::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc), &terminal,
                                 &interrupts);
}
