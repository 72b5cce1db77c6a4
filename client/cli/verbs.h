// What the command can do: a table of verbs, from which help is written and words are checked.
#ifndef EVOGRAD_CLIENT_CLI_VERBS_H_
#define EVOGRAD_CLIENT_CLI_VERBS_H_

#include <string>
#include <vector>

#include "client/cli/arguments.h"
#include "client/cli/session.h"

namespace evograd {

struct Verb {
  std::string name;
  // As written in its usage: "FILE...", "NAME".
  std::string operands;
  int min_operands;
  int max_operands;  // -1: any number
  std::string summary;
  std::string details;
  // Those of its own, then the common ones that have an effect on it.
  std::vector<Flag> flags;
  // The exit code.
  int (*run)(Session* session);
};

// Flags that may stand before the verb too, where it takes them.
const std::vector<Flag>& CommonFlags();
const std::vector<Verb>& Verbs();

// Jobs on this machine (run_verb.cc, up_verb.cc).
int RunVerb(Session* session);
int ResumeVerb(Session* session);
int UpVerb(Session* session);
int HypergradientVerb(Session* session);
// Jobs of a coordinator (job_verbs.cc).
int SubmitVerb(Session* session);
int ListVerb(Session* session);
int DescribeVerb(Session* session);
int WatchVerb(Session* session);
int WaitVerb(Session* session);
int CancelVerb(Session* session);
int WorkersVerb(Session* session);
int CheckpointsVerb(Session* session);
int DownloadVerb(Session* session);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_VERBS_H_
