// Goal: the programs are started with what they need, revived when killed, and quoted when they
// give up; nothing is left behind. Method: shell scripts in the programs' place, found through
// EVOGRAD_BIN_DIR.
#include "client/lib/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

// Writes its process id, then the address, as the real one does.
constexpr char kGoodCoordinator[] = R"(
for word in "$@"; do case $word in
  --data_dir=*) dir=${word#*=};; --port_file=*) port=${word#*=};; --listen=*) listen=${word#*=};;
esac; done
echo "$$" > "$dir/coordinator.pid"; echo "${listen%:*}:4711" > "$port"
exec tail -f /dev/null
)";
constexpr char kGoodWorker[] = "echo \"$@\"; exec tail -f /dev/null";

class ClusterTest : public ::testing::Test {
 protected:
  ClusterTest() : folder_(absl::StrCat(std::getenv("TEST_TMPDIR"), "/", Name())) {
    std::filesystem::create_directories(folder_ + "/bin");
    setenv("EVOGRAD_BIN_DIR", (folder_ + "/bin").c_str(), 1);
    options_.data_dir = folder_ + "/data";
    options_.on_notice = [this](const std::string& notice) {
      absl::MutexLock lock(&mutex_);
      notice_ = notice;
    };
    options_.on_failure = [this](const absl::Status& status) {
      absl::MutexLock lock(&mutex_);
      failure_ = status;
      failed_.Notify();
    };
  }

  static std::string Name() {
    return ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }

  void Install(const std::string& program, const std::string& script) {
    const std::string path = absl::StrCat(folder_, "/bin/", program);
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    chmod(path.c_str(), 0755);
  }

  std::string Read(const std::string& name) {
    std::ifstream file(absl::StrCat(options_.data_dir, "/", name));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // Waits for one that has `text`; or for the failure, after which there is none.
  std::string WaitForNotice(const std::string& text = "") {
    absl::MutexLock lock(&mutex_);
    const auto said = [&] {
      return (!notice_.empty() && absl::StrContains(notice_, text)) || failed_.HasBeenNotified();
    };
    mutex_.Await(absl::Condition(&said));
    return notice_;
  }

  const std::string folder_;
  ClusterOptions options_;
  absl::Mutex mutex_;
  std::string notice_;
  absl::Status failure_;
  absl::Notification failed_;
};

TEST_F(ClusterTest, StartsAndStopsPrograms) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  options_.workers = 2;
  options_.listen = "0.0.0.0:0";
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ((*cluster)->address(), "127.0.0.1:4711");
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(Read("coordinator.pid"), &pid));
  EXPECT_EQ(kill(pid, 0), 0);
  (*cluster)->Stop();
  EXPECT_NE(kill(pid, 0), 0);
  EXPECT_TRUE(std::filesystem::exists(options_.data_dir));
}

TEST_F(ClusterTest, WorkersAreToldWhereAndOnWhatToCompute) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", "echo \"$@\"; exit 3");
  options_.device = "cpu";
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_THAT(std::string(failure_.message()),
              HasSubstr("--coordinator=127.0.0.1:4711 --worker_id=local-1 --device=cpu\n"));
}

TEST_F(ClusterTest, ASocketIsListenedAtAgainWhereItWas) {
  Install("coordinator", R"(
for word in "$@"; do case $word in
  --data_dir=*) dir=${word#*=};; --port_file=*) port=${word#*=};; --listen=*) listen=${word#*=};;
esac; done
echo $listen >> "$dir/listened"; echo "$$" > "$dir/coordinator.pid"; echo "$listen" > "$port"
exec tail -f /dev/null
)");
  Install("worker", kGoodWorker);
  options_.listen = "unix:" + folder_ + "/socket";
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ((*cluster)->address(), options_.listen);
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(Read("coordinator.pid"), &pid));
  kill(pid, SIGKILL);
  WaitForNotice();
  while (Read("listened").size() < 2 * (options_.listen.size() + 1)) sched_yield();
  EXPECT_EQ(Read("listened"), absl::StrCat(options_.listen, "\n", options_.listen, "\n"));
  EXPECT_THAT(Read("logs/local-1.log"), HasSubstr("--coordinator=" + options_.listen));
}

// The test listens in the coordinator's place, in a folder whose name is short.
TEST_F(ClusterTest, ASocketThatIsRemovedIsNamedWhenAWorkerNeedsIt) {
  Install("coordinator", R"(
for word in "$@"; do case $word in
  --port_file=*) port=${word#*=};; --listen=*) listen=${word#*=};;
esac; done
echo "$listen" > "$port"
exec tail -f /dev/null
)");
  // The first two die.
  Install("worker",
          absl::StrCat("case \"$*\" in *local-[12]\\ *) kill -KILL $$;; esac; ", kGoodWorker));
  options_.min_restart_delay = absl::ZeroDuration();
  std::string folder = "/tmp/evograd-test-XXXXXX";
  ASSERT_NE(mkdtemp(&folder[0]), nullptr);
  const std::string path = folder + "/socket";
  options_.listen = "unix:" + path;
  {
    // Nobody listens: a coordinator that is away comes back.
    const auto cluster = Cluster::Start(options_);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    EXPECT_THAT(WaitForNotice("local-3 takes its place"), HasSubstr("local-3 takes its place"));
  }
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  std::filesystem::remove_all(folder);
  std::filesystem::remove_all(options_.data_dir);
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_THAT(std::string(failure_.message()),
              HasSubstr("the socket " + path + " of the coordinator was removed"));
  close(listener);
}

TEST_F(ClusterTest, NoMoreFilesIsAnErrorAndNoEnd) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  // From none on up to enough: at some of them each file is the one too many.
  int refused = 0;
  for (rlim_t files = 3; files < 200; ++files) {
    const rlimit few = {files, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    auto cluster = Cluster::Start(options_);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    if (cluster.ok()) break;
    ++refused;
    EXPECT_NE(cluster.status().message(), "");
  }
  EXPECT_GT(refused, 0);
}

TEST(CountGpusTest, TheEnvironmentCanHideThem) {
  setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
  EXPECT_EQ(CountGpus(), 0);
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_EQ(CountGpus(), 0);
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_EQ(CountGpus() > 0, std::filesystem::exists("/dev/nvidia0"));
}

TEST_F(ClusterTest, AFolderIsRequired) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  options_.data_dir = "";
  EXPECT_EQ(Cluster::Start(options_).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClusterTest, ARefusedStartLeavesTheAddressOfTheFoldersClusterAlone) {
  // Puts nothing else into the folder, so that it is taken a second time.
  Install("coordinator", R"(
for word in "$@"; do case $word in --port_file=*) port=${word#*=};; esac; done
echo "127.0.0.1:4711" > "$port"
exec tail -f /dev/null
)");
  Install("worker", kGoodWorker);
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(Read("address"), "127.0.0.1:4711\n");
  Install("coordinator", "echo 'another coordinator has the folder' >&2; exit 1");
  EXPECT_THAT(std::string(Cluster::Start(options_).status().message()),
              HasSubstr("another coordinator has the folder"));
  EXPECT_EQ(Read("address"), "127.0.0.1:4711\n");
}

TEST_F(ClusterTest, AKilledCoordinatorComesBackOnItsPort) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(Read("coordinator.pid"), &pid));
  kill(pid, SIGKILL);
  EXPECT_EQ(WaitForNotice(),
            "the coordinator was killed by signal 9 (Killed); it was started again");
  (*cluster)->Stop();
}

TEST_F(ClusterTest, AKilledWorkerIsReplaced) {
  Install("coordinator", kGoodCoordinator);
  // The first worker dies by a signal.
  Install("worker", absl::StrCat("case \"$*\" in *local-1*) kill -SEGV $$;; esac; ", kGoodWorker));
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(WaitForNotice(),
            "worker local-1 was killed by signal 11 (Segmentation fault); local-2 takes its place");
}

TEST_F(ClusterTest, AProgramThatSomebodyTellsToEndIsStartedAgain) {
  Install("coordinator", R"(
for word in "$@"; do case $word in
  --data_dir=*) dir=${word#*=};; --port_file=*) port=${word#*=};; --listen=*) listen=${word#*=};;
esac; done
tail -f /dev/null &
trap "kill $!; exit 0" TERM
echo "$$" > "$dir/coordinator.pid"; echo "${listen%:*}:4711" > "$port"
wait
)");
  Install("worker", kGoodWorker);
  options_.min_restart_delay = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(Read("coordinator.pid"), &pid));
  kill(pid, SIGTERM);
  EXPECT_EQ(WaitForNotice(),
            "the coordinator ended with exit code 0; it said nothing; it was started again");
  EXPECT_FALSE(failed_.HasBeenNotified());
}

TEST_F(ClusterTest, AStartThatFailsIsTriedAgain) {
  Install("coordinator", kGoodCoordinator);
  // It takes away what the next start needs.
  const std::string worker = folder_ + "/bin/worker";
  Install("worker", absl::StrCat("case \"$*\" in *local-1\\ *) mv ", worker, " ", worker,
                                 ".away; kill -KILL $$;; esac; ", kGoodWorker));
  options_.min_restart_delay = absl::Milliseconds(1);
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  WaitForNotice("could not be started again");
  EXPECT_THAT(notice_, HasSubstr("worker local-1 could not be started again: cannot start or log"));
  std::filesystem::rename(worker + ".away", worker);
  EXPECT_EQ(WaitForNotice("takes its place"),
            "worker local-1 was killed by signal 9 (Killed); local-2 takes its place");
  EXPECT_FALSE(failed_.HasBeenNotified());
}

TEST_F(ClusterTest, StartsThatFailAreBounded) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", absl::StrCat("rm ", folder_, "/bin/worker; kill -KILL $$"));
  options_.max_restarts_per_hour = 3;
  options_.min_restart_delay = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_THAT(std::string(failure_.message()),
              HasSubstr("bin/worker: No such file or directory, after 3 restarts within 1h"));
}

TEST_F(ClusterTest, AWorkerThatGivesUpIsQuoted) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", "echo 'there is no device cuda:7' >&2; exit 3");
  options_.device = "cuda:7";
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_EQ(failure_.message(),
            "worker local-1 ended with exit code 3; it said:\n  there is no device cuda:7\n");
}

TEST_F(ClusterTest, RestartsAreBounded) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", "kill -KILL $$");
  options_.max_restarts_per_hour = 10;
  options_.min_restart_delay = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_THAT(std::string(failure_.message()),
              HasSubstr("worker local-11 was killed by signal 9 (Killed), after 10 restarts within "
                        "1h; it said nothing"));
}

TEST_F(ClusterTest, TheBudgetOfRestartsRecovers) {
  Install("coordinator", kGoodCoordinator);
  // Fifteen die; with an hour that is over at once no more than one counts.
  Install("worker",
          absl::StrCat("case \"$*\" in *local-1[0-5]*|*local-[1-9]\\ *) kill -KILL $$;; esac; ",
                       kGoodWorker));
  options_.max_restarts_per_hour = 10;
  options_.min_restart_delay = absl::ZeroDuration();
  options_.hour = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](std::string* notice) { return absl::StrContains(*notice, "local-16 takes"); }, &notice_));
  EXPECT_FALSE(failed_.HasBeenNotified());
}

// Ends when somebody opens the pipe `stop` in its folder, and at every later start but one.
constexpr char kFullDisk[] = R"(
for word in "$@"; do case $word in
  --data_dir=*) dir=${word#*=};; --port_file=*) port=${word#*=};; --listen=*) listen=${word#*=};;
esac; done
echo start >> "$dir/starts"
test $(wc -l < "$dir/starts") -eq ${GOOD_START:-0} && exec tail -f /dev/null
if test ! -e "$dir/stop"; then
  mkfifo "$dir/stop"
  echo "${listen%:*}:4711" > "$port"
  cat "$dir/stop"
fi
echo "database or disk is full" >&2
exit 1
)";

TEST_F(ClusterTest, ACoordinatorThatEndsByItselfIsStartedAgain) {
  Install("coordinator", absl::StrCat("GOOD_START=4\n", kFullDisk));
  Install("worker", kGoodWorker);
  options_.min_restart_delay = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  std::ofstream(options_.data_dir + "/stop");
  EXPECT_EQ(WaitForNotice(),
            "the coordinator ended with exit code 1; it said:\n  database or disk is full\n"
            "it was started again");
  // Twice more without having begun to serve, and then it is well again.
  while (Read("starts").size() < 4 * 6) sched_yield();
  (*cluster)->Stop();
  EXPECT_FALSE(failed_.HasBeenNotified());
}

TEST_F(ClusterTest, ACoordinatorThatGoesOnEndingIsGivenUpWithItsLastCause) {
  Install("coordinator", kFullDisk);
  Install("worker", kGoodWorker);
  options_.max_restarts_per_hour = 3;
  options_.min_restart_delay = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  std::ofstream(options_.data_dir + "/stop");
  failed_.WaitForNotification();
  EXPECT_EQ(failure_.message(),
            "the coordinator ended with exit code 1, after 3 restarts within 1h; it said:\n"
            "  database or disk is full\n");
}

TEST_F(ClusterTest, AWorkerThatHadStartedWellIsStartedAgain) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", absl::StrCat("case \"$*\" in *local-1*) echo 'a GPU fault'; exit 1;; esac; ",
                                 kGoodWorker));
  options_.settled_after = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(WaitForNotice(),
            "worker local-1 ended with exit code 1; it said:\n  a GPU fault\n"
            "local-2 takes its place");
}

TEST_F(ClusterTest, AWorkerThatCannotStartIsNotStartedAgain) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", "echo 'there is no device cuda:7' >&2; exit 1");
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_EQ(failure_.message(),
            "worker local-1 ended with exit code 1; it said:\n  there is no device cuda:7\n");
}

TEST_F(ClusterTest, AWorkerThatCannotStartDoesNotEndTheOthers) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", absl::StrCat("case \"$*\" in *local-1\\ *) echo 'no device'; exit 3;; esac; ",
                                 kGoodWorker));
  options_.workers = 2;
  options_.min_restart_delay = absl::ZeroDuration();
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(WaitForNotice("takes its place"),
            "worker local-1 ended with exit code 3; it said:\n  no device\n"
            "local-3 takes its place");
  EXPECT_FALSE(failed_.HasBeenNotified());
}

TEST_F(ClusterTest, AFolderOfSomebodyElseStaysAsItIs) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  for (const std::string name : {"notes.txt", "address", "logs/coordinator.log/x"}) {
    std::filesystem::remove_all(options_.data_dir);
    const std::filesystem::path file = options_.data_dir + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << "mine\n";
    if (name[0] == 'l') std::ofstream(options_.data_dir + "/logs/training.log");
    const absl::Status status = Cluster::Start(options_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr("nothing there was touched")) << name;
    EXPECT_EQ(Read(name), "mine\n");
    EXPECT_FALSE(std::filesystem::exists(options_.data_dir + "/coordinator.pid")) << name;
  }
}

TEST_F(ClusterTest, FoldersAndLogsAreTheirOwnersAlone) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  options_.data_dir += "/deep";
  const mode_t old = umask(0);
  const auto cluster = Cluster::Start(options_);
  umask(old);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  for (const auto& [name, mode] : std::map<std::string, mode_t>{
           {"/..", 0700}, {"", 0700}, {"/logs", 0700}, {"/logs/coordinator.log", 0600}}) {
    struct stat info;
    ASSERT_EQ(stat((options_.data_dir + name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, mode) << name;
  }
}

TEST_F(ClusterTest, ACoordinatorThatGivesUpIsQuoted) {
  // Not what an earlier one wrote.
  std::filesystem::create_directories(options_.data_dir + "/logs");
  std::ofstream(options_.data_dir + "/logs/coordinator.log") << "an old complaint\n";
  Install("coordinator", "echo 'the port is taken' >&2; exit 1");
  Install("worker", kGoodWorker);
  const auto cluster = Cluster::Start(options_);
  EXPECT_EQ(cluster.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(cluster.status().message(),
            "the coordinator ended with exit code 1; it said:\n  the port is taken\n");
}

TEST_F(ClusterTest, AMissingProgramIsNamed) {
  Install("coordinator", kGoodCoordinator);
  const auto cluster = Cluster::Start(options_);
  EXPECT_EQ(cluster.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(cluster.status().message()),
              HasSubstr("the program `worker` is in none of"));
  EXPECT_THAT(std::string(cluster.status().message()), HasSubstr("EVOGRAD_BIN_DIR"));
}

}  // namespace
}  // namespace evograd
