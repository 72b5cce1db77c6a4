// From the words of the command line to an exit code.
#ifndef EVOGRAD_CLIENT_CLI_COMMAND_LINE_H_
#define EVOGRAD_CLIENT_CLI_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "client/cli/interrupts.h"
#include "client/cli/terminal.h"

namespace evograd {

// `words` without the program's name. Threads: one.
int RunCommandLine(const std::vector<std::string>& words, Terminal* terminal,
                   Interrupts* interrupts);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_COMMAND_LINE_H_
