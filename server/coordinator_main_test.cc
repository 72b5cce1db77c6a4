// Goal: the program does what its flags say and ends as its exit code says; kill -9 loses no job
// that it answered; it ends with the process that started it. Method: the real program as a child
// process, with free ports and temporary directories; a client creates jobs and reads them back.

#include <netinet/in.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <set>
#include <thread>

#include "common/testing/connect_as.h"
#include "server/store/testing/temp_dir.h"
#include "server/testing/coordinator_process.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using testing::CoordinatorProcess;
using testing::CoordinatorProcessTest;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Surroundings;

struct OwnFolder {
  testing::TempDir dir_;
};

class CoordinatorMainTest : private OwnFolder, public CoordinatorProcessTest {
 protected:
  CoordinatorMainTest() : CoordinatorProcessTest(dir_.path()) {}

  void Put(const std::string& name, const std::string& text) {
    const std::filesystem::path file = data_dir() + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }
  std::string Get(const std::string& name) {
    std::ifstream file(data_dir() + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // The whole output of a coordinator that ends by itself with exit code 1.
  std::string Refusal(const Surroundings& around = {}) {
    CoordinatorProcess child(Flags(), around);
    std::string output;
    for (std::string line = child.ReadLine(); !line.empty(); line = child.ReadLine()) {
      output += line;
      if (line.find("listening on") != std::string::npos) kill(child.pid(), SIGKILL);
    }
    const int status = child.End(0);
    EXPECT_TRUE(WIFEXITED(status)) << output;
    EXPECT_EQ(WEXITSTATUS(status), 1) << output;
    return output;
  }
};

TEST_F(CoordinatorMainTest, ServesAndEndsWhenAsked) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const auto child = Serve();
    CountJobs();
    const int status = child->End(signal);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
}

TEST_F(CoordinatorMainTest, AKillLosesNoJobThatWasAnswered) {
  for (int round = 1; round <= 3; ++round) {
    const auto child = Serve();
    EXPECT_EQ(CountJobs(), round - 1);
    ASSERT_TRUE(Create("job" + std::to_string(round)).ok());
    child->End(SIGKILL);
  }
  const auto child = Serve();
  EXPECT_EQ(CountJobs(), 3);
}

TEST_F(CoordinatorMainTest, WrongFlagsAreSaid) {
  const struct {
    std::vector<std::string> flags;
    std::string message;
    int code;
  } cases[] = {
      {{"--listen=127.0.0.1:0"}, "--data_dir is missing", 2},
      {{"--data_dir=" + folder_, "--listen=0.0.0.0:0"}, "say --insecure", 2},
      {{"--data_dir=" + folder_, "--listen=nowhere"}, "no address to listen on", 2},
      {{"--data_dir=" + folder_, "--listen=unix:socket"}, "the path in full", 2},
      {{"--data_dir=" + folder_, "--listen=unix:/" + std::string(200, 'x')},
       "107 bytes at most",
       2},
      {{"--data_dir=" + folder_, "extra"}, "unexpected argument `extra`", 2},
      {{"--data_dir=/proc/nowhere", "--listen=127.0.0.1:0"},
       "the data directory cannot be used",
       1},
      {{"--data_dir=" + folder_, "--listen=127.0.0.1:0", "--port_file=/proc/nowhere"},
       "--port_file",
       1},
  };
  for (const auto& one : cases) {
    CoordinatorProcess child(one.flags);
    EXPECT_THAT(child.ReadLine(), HasSubstr(one.message));
    const int status = child.End(0);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), one.code) << one.message;
  }
}

TEST_F(CoordinatorMainTest, EndsWithTheProcessThatStartedIt) {
  // Orphans come to this process, which so learns of their end.
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    std::vector<std::string> flags = Flags();
    flags.push_back("--parent_death_signal");
    CoordinatorProcess child(flags);
    child.ReadLine();
    const pid_t pid = child.pid();
    if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid)) _exit(1);
    pause();
    _exit(0);
  }
  pid_t grandchild = 0;
  ASSERT_EQ(read(ends[0], &grandchild, sizeof(grandchild)),
            static_cast<ssize_t>(sizeof(grandchild)));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  int status = 0;
  EXPECT_EQ(waitpid(grandchild, &status, 0), grandchild);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(CoordinatorMainTest, SignalsThatWereIgnoredStayIgnored) {
  Surroundings around;
  around.ignored_signals = {SIGINT};
  const auto child = Serve(Flags(), around);
  kill(child->pid(), SIGINT);
  EXPECT_EQ(CountJobs(), 0);
  const int status = child->End(SIGTERM);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// ---- A socket for one user -------------------------------------------------------------------

// In a folder whose name is short, wherever the test runs.
class UnixSocketTest : public CoordinatorMainTest {
 protected:
  UnixSocketTest() { EXPECT_NE(mkdtemp(&place_[0]), nullptr); }
  ~UnixSocketTest() override { std::filesystem::remove_all(place_); }

  std::string path() const { return place_ + "/deep/socket"; }
  std::vector<std::string> UnixFlags() const {
    return {"--data_dir=" + data_dir(), "--listen=unix:" + path(), "--port_file=" + port_file()};
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat info;
    return lstat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
  }

  std::string place_ = "/tmp/evograd-test-XXXXXX";
};

TEST_F(UnixSocketTest, ServesItsUserAlone) {
  Surroundings open;
  open.mask = 0;
  const auto child = Serve(UnixFlags(), open);
  EXPECT_EQ(address_, "unix:" + path());
  ASSERT_TRUE(Create("job1").ok());
  EXPECT_EQ(CountJobs(), 1);
  EXPECT_EQ(ModeOf(path()), 0600);
  EXPECT_EQ(ModeOf(place_ + "/deep"), 0700);
  // It goes with the coordinator.
  EXPECT_TRUE(WIFEXITED(child->End(SIGTERM)));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(UnixSocketTest, OtherUsersAreKeptOut) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be another user; the rights are tested above";
  const auto child = Serve(UnixFlags());
  // The socket's own rights, not only its folder's.
  std::filesystem::permissions(place_, std::filesystem::perms(0711));
  std::filesystem::permissions(place_ + "/deep", std::filesystem::perms(0711));
  EXPECT_EQ(testing::ConnectAs(0, path()), 0);
  EXPECT_EQ(testing::ConnectAs(65534, path()), EACCES);
}

TEST_F(UnixSocketTest, WhatACrashLeavesIsNoHindranceAndWhatIsOthersIs) {
  Serve(UnixFlags())->End(SIGKILL);
  EXPECT_TRUE(std::filesystem::exists(path()));
  const auto child = Serve(UnixFlags());
  EXPECT_EQ(CountJobs(), 0);
  // Of another coordinator, in another data folder.
  const std::string other = folder_ + "/other";
  CoordinatorProcess second({"--data_dir=" + other, "--listen=unix:" + path()});
  EXPECT_THAT(second.ReadLine(), HasSubstr("another program listens at " + path()));
  EXPECT_EQ(WEXITSTATUS(second.End(0)), 1);
  EXPECT_EQ(CountJobs(), 0);
}

// ---- The data folder -------------------------------------------------------------------------

TEST_F(CoordinatorMainTest, AFolderOfSomebodyElseIsRefusedAndStaysAsItIs) {
  Put("checkpoints/run1/model.pt", "weights");
  Put("train.py", "import torch");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("the data directory cannot be used"),
                               HasSubstr("checkpoints, train.py"), HasSubstr("Give a new or an")));
  std::filesystem::remove(data_dir() + "/train.py");
  EXPECT_THAT(Refusal(), HasSubstr("checkpoints"));
  EXPECT_EQ(Get("checkpoints/run1/model.pt"), "weights");
  std::filesystem::remove_all(data_dir() + "/checkpoints");
  Put("lock", "mine");
  EXPECT_THAT(Refusal(), HasSubstr("lock was not written by a coordinator"));
  EXPECT_EQ(Get("lock"), "mine");
  std::filesystem::remove(data_dir() + "/lock");
  // The twin: nothing in it but what an earlier coordinator leaves.
  Put("lock", "1\n");
  Serve();
}

TEST_F(CoordinatorMainTest, FilesBesideOurStoreAreLeftAlone) {
  Serve()->End(SIGTERM);
  Put("checkpoints/run1/model.pt", "weights");
  Put("checkpoints/run1/5-0123456789abcdef.1.part", "theirs");
  Put("notes.txt", "mine");
  Serve()->End(SIGTERM);
  EXPECT_THAT(notices_, AllOf(HasSubstr("left as it is"), HasSubstr("checkpoints/run1")));
  EXPECT_EQ(Get("checkpoints/run1/model.pt"), "weights");
  EXPECT_EQ(Get("checkpoints/run1/5-0123456789abcdef.1.part"), "theirs");
  EXPECT_EQ(Get("notes.txt"), "mine");
}

TEST_F(CoordinatorMainTest, AnOlderStorePutBackKeepsTheNewerCheckpoints) {
  Serve()->End(SIGTERM);
  std::filesystem::copy(data_dir() + "/store.sqlite", folder_ + "/backup");
  v1::Job job;
  auto child = Serve();
  ASSERT_TRUE(Create("job1", &job).ok());
  child->End(SIGTERM);
  const std::string name = job.uid() + "/3-0123456789abcdef";
  Put("checkpoints/" + name, "bytes");
  std::filesystem::rename(folder_ + "/backup", data_dir() + "/store.sqlite");
  Serve()->End(SIGTERM);
  EXPECT_THAT(notices_, HasSubstr("moved to checkpoints/unknown"));
  EXPECT_EQ(Get("checkpoints/unknown/" + name), "bytes");
  // And without any store there is nothing to start with.
  std::filesystem::remove(data_dir() + "/store.sqlite");
  EXPECT_THAT(Refusal(), HasSubstr("put its store.sqlite back"));
  EXPECT_EQ(Get("checkpoints/unknown/" + name), "bytes");
}

TEST_F(CoordinatorMainTest, ACleanStopLeavesOneFileWithEverything) {
  for (const int signal : {SIGTERM, SIGINT}) {
    auto child = Serve();
    ASSERT_TRUE(Create("job" + std::to_string(signal)).ok());
    const int jobs = CountJobs();
    child->End(signal);
    EXPECT_FALSE(std::filesystem::exists(data_dir() + "/store.sqlite-wal"));
    EXPECT_FALSE(std::filesystem::exists(data_dir() + "/store.sqlite-shm"));
    // A copy of that file alone is a backup.
    const std::string copy = folder_ + "/copy" + std::to_string(signal);
    std::filesystem::create_directories(copy);
    std::filesystem::copy(data_dir() + "/store.sqlite", copy + "/store.sqlite");
    child = Serve({"--data_dir=" + copy, "--listen=127.0.0.1:0", "--port_file=" + port_file()});
    EXPECT_EQ(CountJobs(), jobs);
  }
}

TEST_F(CoordinatorMainTest, AFolderOfAnEarlierVersionIsGoneOnWith) {
  std::filesystem::create_directories(data_dir());
  sqlite3* store = nullptr;
  ASSERT_EQ(sqlite3_open((data_dir() + "/store.sqlite").c_str(), &store), SQLITE_OK);
  std::ifstream file("server/store/testdata/schema1.sql");
  const std::string sql{std::istreambuf_iterator<char>(file), {}};
  ASSERT_EQ(sqlite3_exec(store, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(store);
  for (const int jobs : {2, 3}) {
    const auto child = Serve();
    EXPECT_EQ(CountJobs(), jobs);
    EXPECT_TRUE(Create("job" + std::to_string(jobs)).ok());
    child->End(SIGKILL);
  }
}

TEST_F(CoordinatorMainTest, WhatItMakesIsItsOwnersAloneWhateverTheUmask) {
  // The folder was there before.
  std::filesystem::create_directories(data_dir());
  Surroundings open;
  open.mask = 0;
  const auto child = Serve(Flags(), open);
  ASSERT_TRUE(Create("job1").ok());
  std::set<std::string> seen;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data_dir())) {
    struct stat info;
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, entry.is_directory() ? 0700 : 0600) << entry.path();
    seen.insert(entry.path().filename());
  }
  for (const char* name : {"lock", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm"})
    EXPECT_EQ(seen.count(name), 1) << name;
}

// ---- What the machine does to it -------------------------------------------------------------

TEST_F(CoordinatorMainTest, FileSystemsWithoutLocksAreNamed) {
  Surroundings around;
  around.environment = {{"LD_PRELOAD", std::filesystem::absolute("server/libfaulty_calls.so")},
                        {"FLOCK_ERROR", ""}};
  // 524 is the kernel's own ENOTSUPP, which NFS lets through.
  for (const int error : {ENOSYS, ENOLCK, EBADF, EINVAL, ENOTSUP, 524}) {
    around.environment[1].second = std::to_string(error);
    EXPECT_THAT(Refusal(around),
                AllOf(HasSubstr(data_dir() + " has no locks"), HasSubstr("a local disk"),
                      Not(HasSubstr("another coordinator"))))
        << error;
  }
  around.environment[1] = {"FLOCK_INTERRUPTED", "3"};
  const auto first = Serve(Flags(), around);
  // The twin: a real second one.
  EXPECT_THAT(Refusal(around), HasSubstr("another coordinator (process "));
}

TEST_F(CoordinatorMainTest, FileSystemsThatCannotSyncFoldersArePassedOver) {
  Surroundings around;
  around.environment = {{"LD_PRELOAD", std::filesystem::absolute("server/libfaulty_calls.so")},
                        {"SYNC_FOLDER_ERROR", ""}};
  for (const int error : {EINVAL, ENOTSUP, EBADF}) {
    around.environment[1].second = std::to_string(error);
    std::filesystem::remove_all(data_dir());
    const auto child = Serve(Flags(), around);
    EXPECT_EQ(CountJobs(), 0);
  }
  // A disk that fails is not.
  std::filesystem::remove_all(data_dir());
  around.environment[1].second = std::to_string(EIO);
  EXPECT_THAT(Refusal(around), HasSubstr("Input/output error"));
}

TEST_F(CoordinatorMainTest, ASyncThatFailedEndsItAndIsMadeUpForAtTheNextStart) {
  const std::string trigger = folder_ + "/disk-fails";
  Surroundings around;
  around.environment = {{"LD_PRELOAD", std::filesystem::absolute("server/libfaulty_calls.so")},
                        {"SYNC_FAILS_IF", trigger}};
  auto child = Serve(Flags(), around);
  ASSERT_TRUE(Create("before").ok());
  std::ofstream(trigger).flush();
  EXPECT_FALSE(Create("meanwhile").ok());
  const int status = child->End(0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(Refusal(around), HasSubstr("Input/output error"));

  std::filesystem::remove(trigger);
  child = Serve(Flags(), around);
  // What the failed sync was to write may be in memory alone; the store has no need of it.
  const std::string copy = folder_ + "/copy";
  std::filesystem::create_directories(copy);
  std::filesystem::copy(data_dir() + "/store.sqlite", copy + "/store.sqlite");
  child = nullptr;
  child = Serve({"--data_dir=" + copy, "--listen=127.0.0.1:0", "--port_file=" + port_file()});
  EXPECT_GE(CountJobs(), 1);
}

TEST_F(CoordinatorMainTest, ItTakesAllTheFilesItMayOpen) {
  rlimit here;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &here), 0);
  Surroundings around;
  around.soft_file_limit = 64;
  const auto child = Serve(Flags(), around);
  rlimit there;
  ASSERT_EQ(prlimit(child->pid(), RLIMIT_NOFILE, nullptr, &there), 0);
  EXPECT_EQ(there.rlim_cur, here.rlim_max);
}

TEST_F(CoordinatorMainTest, StrangersThatTakeEachConnectionDoNotMakeItDeaf) {
  Surroundings around;
  around.hard_file_limit = 128;
  const auto child = Serve(Flags(), around);
  ASSERT_TRUE(Create("before").ok());
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(std::stoi(address_.substr(address_.rfind(':') + 1)));
  std::vector<int> strangers;
  for (int i = 0; i < 300; ++i) {
    strangers.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        connect(strangers.back(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  // It has looked at all of them when the last one is closed.
  char byte;
  EXPECT_LE(read(strangers.back(), &byte, 1), 0);
  EXPECT_THAT(child->ReadLine(), HasSubstr("more connections than the 96 files"));
  // Who is connected goes on, and can have files opened.
  EXPECT_TRUE(Create("meanwhile").ok());
  for (const int stranger : strangers) close(stranger);
  // Anew: not over the connection that is there.
  const auto stub = v1::JobService::NewStub(
      grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), [] {
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        return arguments;
      }()));
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  v1::ListJobsResponse jobs;
  const grpc::Status status = stub->ListJobs(&context, v1::ListJobsRequest(), &jobs);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(jobs.jobs_size(), 2);
}

TEST_F(CoordinatorMainTest, AnotherProgramsLockIsWaitedFor) {
  const auto child = Serve();
  ASSERT_TRUE(Create("before").ok());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((data_dir() + "/store.sqlite").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  grpc::Status status;
  std::thread creator([&] { status = Create("meanwhile"); });
  // It says that it waits.
  const std::string line = child->ReadLine();
  EXPECT_THAT(line, AllOf(HasSubstr("another program holds the lock of"), HasSubstr("60 s")));
  // Longer than an impatient program would wait.
  sqlite3_sleep(5000);
  EXPECT_EQ(waitpid(child->pid(), nullptr, WNOHANG), 0);
  EXPECT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  creator.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(CountJobs(), 2);
}

}  // namespace
}  // namespace evograd
