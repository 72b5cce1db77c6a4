#include "client/cli/verbs.h"

#include <algorithm>
#include <utility>

namespace evograd {
namespace {

// The common flags of a verb beside help.
std::vector<std::string> CommonNames(const std::string& verb) {
  if (verb == "up" || verb == "hypergradient") return {};
  // These start a coordinator of their own.
  if (verb == "run" || verb == "resume") return {"o", "timeout"};
  return {"coordinator", "o", "timeout"};
}

// Verbs that start programs on this machine.
std::vector<Verb> LocalVerbs() {
  const Flag device = {"device", "DEVICE",
                       "cpu, cuda:0, … of every worker [auto: a GPU each where there are enough]"};
  const Flag workers = {"workers", "N",
                        "Worker processes [as many as GPUs, else cores, and as the jobs can use]"};
  const Flag out = {"out", "FOLDER",
                    "Keep each job's last checkpoint there, and its best, as NAME-STEP.safetensors "
                    "[they are not kept as files]"};
  return {
      {"run",
       "FILE...",
       1,
       -1,
       "Runs jobs on this machine, one after another",
       "Starts a coordinator and workers, submits each job, shows its progress and result, and "
       "stops them again.\n"
       "After several jobs a table compares them. Ctrl-C and --timeout stop a run, and the "
       "same command on the\n"
       "same --data-dir, or `evograd resume`, goes on with it from its last checkpoint; without "
       "--data-dir the\n"
       "temporary folder stays only where a checkpoint is in it, and its name is said. A job is "
       "cancelled by\n"
       "`evograd cancel`. A job without `name` is called like its file.",
       {workers,
        device,
        {"data-dir", "FOLDER",
         "Keep the coordinator's data and the logs there [a temporary folder]"},
        out},
       RunVerb},
      {"resume",
       "",
       0,
       0,
       "Goes on with the jobs of a folder that have not ended",
       "Those of an `evograd run` or `up` that was stopped or killed, each from its last "
       "checkpoint.",
       {{"data-dir", "FOLDER", "The folder that `run` or `up` had; required"},
        workers,
        device,
        out},
       ResumeVerb},
      {"up",
       "",
       0,
       0,
       "Starts a coordinator and workers on this machine and stays until Ctrl-C",
       "Prints the coordinator's address. A later start with the same folder goes on with its "
       "jobs.",
       {{"workers", "N",
         "Worker processes; 0: workers come from elsewhere [the number of GPUs, else of cores]"},
        device,
        {"data-dir", "FOLDER",
         "The coordinator's data and the logs [$XDG_STATE_HOME/evograd or ~/.local/state/evograd]"},
        {"listen", "ADDRESS",
         "Where the coordinator listens: HOST:PORT, or unix:/PATH for you alone [127.0.0.1:7070]"},
        {"insecure", "", "Let it serve other machines without encryption and authentication"}},
       UpVerb},
      {"hypergradient",
       "FILE",
       1,
       1,
       "Computes a job's first meta-step and writes every number of it to a file",
       "Needs no coordinator. docs/problems.md says what the tensors are called.",
       {{"out", "FILE", "The safetensors file to write, or the folder for it; required"}, device},
       HypergradientVerb},
  };
}

// Verbs that talk to a coordinator.
std::vector<Verb> CoordinatorVerbs() {
  return {
      {"submit",
       "FILE",
       1,
       1,
       "Hands a job to the coordinator and prints its name",
       "The job is durable when its name is printed. `evograd help job-file` says what a job file "
       "has in it.",
       {{"name", "NAME", "The job's name, in place of the file's"},
        {"wait", "", "Show its progress and wait for its end; Ctrl-C leaves it running"},
        {"dry-run", "", "Only have it checked; prints it with all its defaults"}},
       SubmitVerb},
      {"list",
       "",
       0,
       0,
       "Lists jobs, newest first",
       "",
       {{"limit", "N", "At most so many [50]"}},
       ListVerb},
      {"describe",
       "NAME",
       1,
       1,
       "Shows a job in full: state, progress, figures, settings",
       "",
       {},
       DescribeVerb},
      {"watch",
       "NAME",
       1,
       1,
       "Shows a job's progress until it ends",
       "From the job's first event on; with -o json each event is a line. Ctrl-C leaves the job "
       "running.",
       {{"after", "SEQUENCE", "Only events after this one [0]"}},
       WatchVerb},
      {"wait",
       "NAME",
       1,
       1,
       "Waits for a job's end and shows its result",
       "The exit code says how it ended: 0 succeeded, 7 failed, 8 cancelled.",
       {},
       WaitVerb},
      {"cancel", "NAME", 1, 1, "Ends a job", "", {}, CancelVerb},
      {"workers", "", 0, 0, "Lists the connected workers", "", {}, WorkersVerb},
      {"checkpoints", "NAME", 1, 1, "Lists a job's checkpoints", "", {}, CheckpointsVerb},
      {"download",
       "NAME",
       1,
       1,
       "Fetches a job's checkpoint, checked against its hash, and prints the file's path",
       "",
       {{"step", "N", "That of step N [the last]"},
        {"best", "", "That of the best evaluation, where the job has `keep_checkpoints`"},
        {"out", "FILE",
         "Where to put it: a file, a folder, or - for stdout [NAME-STEP.safetensors]"}},
       DownloadVerb},
  };
}

}  // namespace

const std::vector<Flag>& CommonFlags() {
  static const auto& flags = *new std::vector<Flag>{
      {"coordinator", "ADDRESS",
       "HOST:PORT of the coordinator, or unix:/PATH [$EVOGRAD_COORDINATOR, else 127.0.0.1:7070]"},
      {"o", "FORMAT", "Results as table or json (the API's own JSON form) [table]"},
      {"timeout", "TIME",
       "Give up after 90s, 5m, …: of verbs that wait the whole, of others each call [10s]"},
      {"help", "", "What a verb does; also -h"},
      {"h", "", ""},
  };
  return flags;
}

const std::vector<Verb>& Verbs() {
  static const auto& verbs = *[] {
    auto* all = new std::vector<Verb>(LocalVerbs());
    for (Verb& verb : CoordinatorVerbs()) all->push_back(std::move(verb));
    for (Verb& verb : *all) {
      std::vector<std::string> names = CommonNames(verb.name);
      names.insert(names.end(), {"help", "h"});
      for (const Flag& flag : CommonFlags()) {
        if (std::count(names.begin(), names.end(), flag.name) > 0) verb.flags.push_back(flag);
      }
    }
    return all;
  }();
  return verbs;
}

}  // namespace evograd
