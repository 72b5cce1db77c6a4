#include "client/cli/command_line.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "client/cli/arguments.h"
#include "client/cli/exit_code.h"
#include "client/cli/format.h"
#include "client/cli/session.h"
#include "client/cli/verbs.h"
#include "common/address.h"
#include "spec/nearest.h"

namespace evograd {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr char kDefaultCoordinator[] = "127.0.0.1:7070";

const Verb* FindVerb(const std::string& name) {
  for (const Verb& verb : Verbs()) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

// Long flags with two dashes, aligned.
std::string FlagsHelp(const std::vector<Flag>& flags) {
  std::vector<std::vector<std::string>> rows;
  for (const Flag& flag : flags) {
    if (flag.help.empty()) continue;
    const char* dashes = flag.name.size() == 1 ? "-" : "--";
    rows.push_back(
        {absl::StrCat("  ", dashes, flag.name, flag.value.empty() ? "" : " ", flag.value),
         flag.help});
  }
  return FormatTable(rows);
}

std::string GeneralHelp() {
  std::vector<std::vector<std::string>> rows;
  for (const Verb& verb : Verbs()) {
    rows.push_back({absl::StrCat("  ", verb.name, verb.operands.empty() ? "" : " ", verb.operands),
                    verb.summary});
  }
  rows.push_back({"  help [VERB]", "What a verb does; also: help exit-codes, help job-file"});
  rows.push_back({"  version", "The version of this command"});
  return absl::StrCat(
      "evograd: gradient-based meta-learning jobs with the EvoGrad estimator, on one machine or "
      "many.\n\n"
      "Usage: evograd VERB [OPERANDS] [FLAGS]\n\n",
      FormatTable(rows), "\nFlags of most verbs:\n", FlagsHelp(CommonFlags()),
      "\nFor a start: evograd run examples/toy1d.yaml\n");
}

std::string VerbHelp(const Verb& verb) {
  std::string text = absl::StrCat("Usage: evograd ", verb.name, verb.operands.empty() ? "" : " ",
                                  verb.operands, " [FLAGS]\n\n", verb.summary, ".\n");
  if (!verb.details.empty()) absl::StrAppend(&text, "\n", verb.details, "\n");
  return absl::StrCat(text, "\nFlags:\n", FlagsHelp(verb.flags));
}

std::string JobFileHelp() {
  return R"(A job file is YAML or JSON. Its fields are `name`, the job's name, and those of
JobSpec in proto/evograd/v1/job.proto, which says what each means and what its default is. The least
that a job needs:

  problem:
    toy1d: {}
  steps: 100

More, with some defaults written out:

  name: my-rotation
  problem:
    rotation:
      data_dir: /usr/share/datasets/fashion-mnist   # absolute, as the workers see it
      angle_degrees: 30
  steps: 500
  estimator:
    kind: evograd            # or evograd-antithetic, evograd-shared, t1t2, none
    population: 2
  base_optimizer: {kind: adam, learning_rate: 0.001}
  meta_optimizer: {kind: adam, learning_rate: 0.01}

`evograd submit FILE --dry-run` shows a job with all its defaults; examples/ has jobs with comments.
)";
}

class CommandLine {
 public:
  CommandLine(Terminal* terminal, Interrupts* interrupts) {
    session_.terminal = terminal;
    session_.interrupts = interrupts;
  }

  int Run(const std::vector<std::string>& words) {
    const auto before = Arguments::Parse(words, CommonFlags(), /*stop_at_operand=*/true);
    if (!before.ok()) return Usage(before.status(), "");
    std::vector<std::string> rest = before->operands();
    if (rest.empty() || WantsHelp(*before)) {
      if (!WantsHelp(*before)) return Refuse(GeneralHelp());
      return Show(rest.empty() ? GeneralHelp() : Topic(rest[0]));
    }
    const std::string name = rest[0];
    rest.erase(rest.begin());
    const Verb* verb = FindVerb(name);
    if (name == "help" || name == "version") {
      const absl::Status none = Arguments().Merge(*before, {});
      if (!none.ok()) return Usage(none, "");
      return name == "help" ? Help(rest) : Version(rest);
    }
    if (verb == nullptr) return UnknownVerb(name);
    return RunVerb(*verb, rest, *before);
  }

 private:
  static bool WantsHelp(const Arguments& arguments) {
    return arguments.Has("help") || arguments.Has("h");
  }

  int Show(const std::string& text) {
    if (text.empty()) return kExitUsage;
    session_.terminal->Print(text);
    return kExitOk;
  }
  int Refuse(const std::string& text) {
    session_.terminal->SayText(text);
    return kExitUsage;
  }
  int Usage(const absl::Status& status, const std::string& verb) {
    const std::string help =
        verb.empty() ? "evograd help" : absl::StrCat("evograd ", verb, " --help");
    return Refuse(absl::StrCat("evograd: ", status.message(), "\nSee: ", help));
  }

  int UnknownVerb(const std::string& name) {
    std::vector<std::string> names = {"help", "version"};
    for (const Verb& verb : Verbs()) names.push_back(verb.name);
    const std::string nearest = Nearest(name, names);
    return Refuse(absl::StrCat("evograd: unknown verb ", name,
                               nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"),
                               "\nSee: evograd help"));
  }

  // The help on a topic; empty, having said so, where there is none.
  std::string Topic(const std::string& name) {
    if (name == "exit-codes") return ExitCodesHelp();
    if (name == "job-file") return JobFileHelp();
    if (name == "help" || name == "version") return GeneralHelp();
    if (const Verb* verb = FindVerb(name)) return VerbHelp(*verb);
    UnknownVerb(name);
    return "";
  }

  int Version(const std::vector<std::string>& words) {
    if (!words.empty()) return Usage(absl::InvalidArgumentError("version takes no words"), "");
    return Show(absl::StrCat("evograd ", kVersion, " (API evograd.v1)\n"));
  }

  int Help(const std::vector<std::string>& words) {
    if (words.size() > 1)
      return Usage(absl::InvalidArgumentError("help takes one verb or topic"), "");
    return Show(words.empty() || words[0] == "--help" || words[0] == "-h" ? GeneralHelp()
                                                                          : Topic(words[0]));
  }

  int RunVerb(const Verb& verb, const std::vector<std::string>& words, const Arguments& before) {
    auto arguments = Arguments::Parse(words, verb.flags);
    if (!arguments.ok()) return Usage(arguments.status(), verb.name);
    if (WantsHelp(*arguments)) return Show(VerbHelp(verb));
    const int count = static_cast<int>(arguments->operands().size());
    if (count < verb.min_operands || (verb.max_operands >= 0 && count > verb.max_operands)) {
      const std::string wanted = verb.operands.empty() ? "no operands" : verb.operands;
      return Usage(absl::InvalidArgumentError(
                       absl::StrCat(verb.name, " takes ", wanted, ", and ", count,
                                    count == 1 ? " word was" : " words were", " given")),
                   verb.name);
    }
    if (std::count(arguments->operands().begin(), arguments->operands().end(), "") > 0) {
      return Usage(absl::InvalidArgumentError(
                       absl::StrCat(verb.name, " takes ", verb.operands, ", and a word is empty")),
                   verb.name);
    }
    absl::Status status = arguments->Merge(before, verb.flags);
    session_.arguments = *std::move(arguments);
    if (status.ok()) status = ReadCommon(verb);
    if (!status.ok()) return Usage(status, verb.name);
    return verb.run(&session_);
  }

  // In its form; whether somebody is there, a call shows.
  absl::Status ReadCoordinator() {
    const char* environment = std::getenv("EVOGRAD_COORDINATOR");
    const bool is_set = environment != nullptr && *environment != '\0';
    session_.coordinator =
        session_.arguments.Get("coordinator", is_set ? environment : kDefaultCoordinator);
    const absl::Status status = CheckAddress(session_.coordinator);
    if (status.ok()) return status;
    const bool is_flag = session_.arguments.Has("coordinator");
    return absl::InvalidArgumentError(
        absl::StrCat(is_flag ? "--coordinator" : "$EVOGRAD_COORDINATOR", ": ", status.message()));
  }

  absl::Status ReadCommon(const Verb& verb) {
    const bool asks = std::any_of(verb.flags.begin(), verb.flags.end(),
                                  [](const Flag& flag) { return flag.name == "coordinator"; });
    if (const absl::Status status = ReadCoordinator(); asks && !status.ok()) return status;
    const auto format = session_.arguments.GetChoice("o", "table", {"table", "json"});
    if (!format.ok()) return format.status();
    session_.json = *format == "json";
    const auto timeout = session_.arguments.GetDuration("timeout", absl::InfiniteDuration());
    if (!timeout.ok()) return timeout.status();
    session_.timeout = *timeout;
    return absl::OkStatus();
  }

  Session session_;
};

}  // namespace

int RunCommandLine(const std::vector<std::string>& words, Terminal* terminal,
                   Interrupts* interrupts) {
  return CommandLine(terminal, interrupts).Run(words);
}

}  // namespace evograd
