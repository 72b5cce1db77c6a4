// Goal: without any coordinator the command says plainly what is wrong, with the right exit code,
// and its help is whole. Method: the program as a process; each wrong line has a twin that gets
// further (to the coordinator that is not there).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "tests/cli/command.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// Nothing listens on port 1 of this machine.
constexpr char kNowhere[] = " --coordinator 127.0.0.1:1 --timeout 5s";

TEST(HelpTest, EveryVerbHasHelp) {
  const Outcome all = Evograd("help");
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_THAT(all.err, IsEmpty());
  for (const std::string verb :
       {"run", "resume", "up", "submit", "list", "describe", "watch", "wait", "cancel", "workers",
        "checkpoints", "download", "hypergradient"}) {
    EXPECT_THAT(all.out, HasSubstr("\n  " + verb));
    const Outcome help = Evograd(verb + " --help");
    EXPECT_EQ(help.exit_code, 0) << verb;
    EXPECT_THAT(help.out, StartsWith("Usage: evograd " + verb));
    EXPECT_EQ(Evograd("help " + verb).out, help.out);
  }
  EXPECT_THAT(Evograd("version").out, StartsWith("evograd 0."));
  EXPECT_THAT(Evograd("help job-file").out, HasSubstr("steps: 100"));
}

TEST(HelpTest, ExitCodesAreDocumented) {
  const std::string help = Evograd("help exit-codes").out;
  for (const std::string code : {"0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ", "8 ", "130 "}) {
    EXPECT_THAT(help, HasSubstr("\n  " + code));
  }
}

TEST(GuardTest, NoFolderButATemporaryOneIsRemoved) {
  const std::string mine = TestPath("mine"), temporary = TestPath("evograd-aB3dEf");
  for (const std::string& folder : {mine, temporary}) {
    std::filesystem::create_directory(folder);
    const int code = Evograd("--remove-when-left " + folder).exit_code;
    EXPECT_EQ(code, folder == mine ? 2 : 0);
    EXPECT_EQ(std::filesystem::exists(folder), folder == mine);
  }
}

struct Case {
  std::string line;
  std::string says;
};

class UsageTest : public ::testing::TestWithParam<Case> {};

TEST_P(UsageTest, WrongLinesAreRefused) {
  const Outcome outcome = Evograd(GetParam().line);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(GetParam().says));
  EXPECT_THAT(outcome.out, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Lines, UsageTest,
    ::testing::Values(Case{"", "Usage: evograd VERB"},
                      Case{"lst", "unknown verb lst; did you mean list?"},
                      Case{"frobnicate", "unknown verb frobnicate"},
                      Case{"help lst", "did you mean list?"},
                      Case{"list --limt 3", "unknown flag --limt; did you mean --limit?"},
                      Case{"list -o yaml", "one of table, json is needed"},
                      Case{"list --limit 0", "--limit 0: a whole number from 1"},
                      Case{"list --timeout soon", "--timeout soon: a time is needed"},
                      Case{"list more", "list takes no operands, and 1 word was given"},
                      Case{"describe", "describe takes NAME, and 0 words were given"},
                      Case{"run", "run takes FILE..., and 0 words were given"},
                      Case{"--nonsense list", "unknown flag --nonsense"},
                      Case{"run x.yaml --workers 0", "there is no such file"}));

// Every flag has its effect or is refused, wherever it stands.
INSTANTIATE_TEST_SUITE_P(
    Flags, UsageTest,
    ::testing::Values(
        Case{"run x.yaml --coordinator h:1", "unknown flag --coordinator\nSee: evograd run --help"},
        Case{"--coordinator h:1 run x.yaml", "unknown flag --coordinator\nSee: evograd run --help"},
        Case{"resume --data-dir x --coordinator h:1", "unknown flag --coordinator"},
        Case{"up --coordinator h:1", "unknown flag --coordinator"},
        Case{"up -o json", "unknown flag -o"}, Case{"hypergradient x --timeout 1s", "--timeout"},
        Case{"--coordinator h:1 list --coordinator h:2", "--coordinator is given twice"},
        Case{"-o json version", "unknown flag -o"}, Case{"version x", "version takes no words"},
        Case{"run x.yaml --out ''", "--out needs a value: --out FOLDER"},
        Case{"run x.yaml --data-dir=", "--data-dir needs a value: --data-dir FOLDER"},
        Case{"up --data-dir ''", "--data-dir needs a value"},
        Case{"list --coordinator ''", "--coordinator needs a value: --coordinator ADDRESS"},
        Case{"submit x.yaml --name ''", "--name needs a value"},
        Case{"describe ''", "describe takes NAME, and a word is empty"},
        Case{"describe j\xf6"
             "b",
             "is not UTF-8 text; write it in UTF-8"},
        Case{"--coordinator j\xf6"
             "b:1 list",
             "is not UTF-8 text; write it in UTF-8"},
        Case{"list --coordinator localhost", "--coordinator: `localhost` has no port; give HOST"},
        Case{"list --coordinator http://h:1", "--coordinator: `http://h:1` is a URL; give HOST"}));

TEST(FlagsTest, TheEnvironmentsAddressIsCheckedWhereItIsUsed) {
  setenv("EVOGRAD_COORDINATOR", "localhost", 1);
  const Outcome list = Evograd("list"), run = Evograd("run /none.yaml");
  unsetenv("EVOGRAD_COORDINATOR");
  EXPECT_EQ(list.exit_code, 2);
  EXPECT_THAT(list.err, HasSubstr("$EVOGRAD_COORDINATOR: `localhost` has no port"));
  EXPECT_THAT(run.err, HasSubstr("/none.yaml: there is no such file"));
}

TEST(FlagsTest, FlagsOfSubmitAreBlamedForWhatIsTheirs) {
  const std::string path = WriteFile("job.yaml", "problem: {toy1d: {}}\nsteps: 3\n");
  const Outcome name = Evograd("submit --name Bad " + path);
  EXPECT_EQ(name.exit_code, 2);
  EXPECT_THAT(name.err, StartsWith("evograd: --name: `Bad` is no job name; give "));
  EXPECT_THAT(name.err, Not(HasSubstr(path)));
  // The twin: in the file.
  const std::string bad = WriteFile("bad.yaml", "name: Bad\nproblem: {toy1d: {}}\nsteps: 3\n");
  EXPECT_THAT(Evograd("submit " + bad).err, StartsWith("evograd: " + bad + ":1:"));
  const Outcome both = Evograd("submit --dry-run --wait " + path);
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("--dry-run submits nothing for --wait to wait for"));
}

// A file's text, what is said about it; FILE stands for its path.
class FileTest : public ::testing::TestWithParam<Case> {};

TEST_P(FileTest, WrongFilesAreRefusedWithTheirLine) {
  const std::string path = WriteFile("job.yaml", GetParam().line);
  for (const std::string verb : {"submit ", "run ", "hypergradient --out x "}) {
    const Outcome outcome = Evograd(verb + path);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("evograd: " + path + GetParam().says));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, FileTest,
    ::testing::Values(Case{"problem: {toy1d: {}}\nsteps: 3\nestimator:\n  populaton: 4\n",
                           ":4:3: estimator.populaton: unknown field; did you mean `population`?"},
                      Case{"problem: {toy1d: {}}\nsteps: three\n",
                           ":2:8: steps: `three` is text; a whole number is needed"},
                      Case{"problem: {toy1d: {}}\nsteps: 3\nestimator:\n  population: 0\n",
                           ":4:3: estimator.population: 0 is outside 1 to 4096"},
                      Case{"problem: {toy1d: {}}\nsteps: 3\nestimator: {tau: 0}\n",
                           ":3:13: estimator.tau: 0 is not allowed"},
                      Case{"problem: {toy1d: {}}\n", ": steps: is missing or 0; give the number"},
                      Case{"problem: {toy1d: {}}\nsteps: 0\n", ":2:1: steps: is missing or 0; "},
                      Case{"problem: {rotation: {data_dir: data}}\nsteps: 3\n",
                           ":1:22: problem.rotation.data_dir: `data` is relative"},
                      Case{"problem: {toy1d: {}\nsteps: 3\n", ":"},
                      Case{"\xff\xfe", ":1:1: the file is not UTF-8"}));

TEST(FileTest, AllErrorsOfAFileAreSaidAtOnce) {
  const std::string path =
      WriteFile("job.yaml", "problem: {toy1d: {}}\nsteps: -1\nestimator: {tau: 0, sigma: -1}\n");
  const Outcome outcome = Evograd("submit " + path);
  EXPECT_THAT(outcome.err, HasSubstr(path + ":2:1: steps: "));
  EXPECT_THAT(outcome.err, HasSubstr(path + ":3:13: estimator.tau: "));
  EXPECT_THAT(outcome.err, HasSubstr(path + ":3:21: estimator.sigma: "));
}

TEST(FileTest, MissingFilesAndTwins) {
  EXPECT_THAT(Evograd("submit /none.yaml").err, HasSubstr("/none.yaml: there is no such file"));
  const std::string one =
      WriteFile("one.yaml", "name: same-name\nproblem: {toy1d: {}}\nsteps: 3\n");
  const std::string two =
      WriteFile("two.yaml", "name: same-name\nproblem: {toy1d: {}}\nsteps: 3\n");
  const Outcome outcome = Evograd("run " + one + " " + two);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("both name their job `same-name`"));
}

TEST(FileTest, TooFewWorkersForAJob) {
  const std::string path =
      WriteFile("job.yaml", "problem: {toy1d: {}}\nsteps: 3\nmin_workers: 3\n");
  const Outcome outcome = Evograd("run --workers 2 " + path);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              HasSubstr(path + ":3:1: the job needs 3 workers, and --workers gives 2"));
}

TEST(UnreachableTest, NobodyThereIsSaidPlainly) {
  const std::string path = WriteFile("job.yaml", "problem: {toy1d: {}}\nsteps: 3\n");
  const std::vector<std::string> lines = {
      "list",          "describe x", "submit " + path, "submit --dry-run " + path,
      "watch x",       "wait x",     "cancel x",       "workers",
      "checkpoints x", "download x"};
  // Each tries for about a second: all at once.
  std::vector<std::future<Outcome>> outcomes;
  for (const std::string& line : lines) {
    outcomes.push_back(std::async(std::launch::async, Evograd, line + kNowhere));
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    const Outcome outcome = outcomes[i].get();
    EXPECT_EQ(outcome.exit_code, 5) << lines[i];
    EXPECT_THAT(outcome.err,
                HasSubstr("no coordinator answers at 127.0.0.1:1: the connection is refused, so "
                          "nothing listens there; start one with `evograd up` or name another"))
        << lines[i];
    EXPECT_THAT(outcome.out, IsEmpty()) << lines[i];
  }
}

TEST(UnreachableTest, TheEnvironmentNamesTheCoordinatorAndTheFlagWins) {
  setenv("EVOGRAD_COORDINATOR", "127.0.0.1:2", 1);
  EXPECT_THAT(Evograd("list").err, HasSubstr("127.0.0.1:2"));
  EXPECT_THAT(Evograd(std::string("list") + kNowhere).err, HasSubstr("127.0.0.1:1:"));
  EXPECT_THAT(Evograd(std::string(kNowhere) + " list").err, HasSubstr("127.0.0.1:1:"));
  unsetenv("EVOGRAD_COORDINATOR");
}

TEST(ProgramsTest, MissingProgramsAreNamed) {
  const std::string path = WriteFile("job.yaml", "problem: {toy1d: {}}\nsteps: 3\n");
  setenv("EVOGRAD_BIN_DIR", "/none", 1);
  const Outcome outcome = Evograd("run " + path);
  unsetenv("EVOGRAD_BIN_DIR");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err,
              HasSubstr("the program `coordinator` is in none of /none; set EVOGRAD_BIN_DIR"));
}

}  // namespace
}  // namespace evograd
