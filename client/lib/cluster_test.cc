// Goal: the programs are started with what they need, revived when killed, and quoted when they
// give up; nothing is left behind. Method: shell scripts in the programs' place, found through
// EVOGRAD_BIN_DIR.
#include "client/lib/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

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

  std::string WaitForNotice() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(+[](std::string* notice) { return !notice->empty(); }, &notice_));
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
              HasSubstr("--coordinator=127.0.0.1:4711 --worker_id=local-1 --device=cpu "
                        "--interface_address=127.0.0.1"));
}

TEST(CountGpusTest, TheEnvironmentCanHideThem) {
  setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
  EXPECT_EQ(CountGpus(), 0);
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_EQ(CountGpus(), 0);
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_EQ(CountGpus() > 0, std::filesystem::exists("/dev/nvidia0"));
}

TEST_F(ClusterTest, ATemporaryFolderGoesUnlessKept) {
  Install("coordinator", kGoodCoordinator);
  Install("worker", kGoodWorker);
  options_.data_dir = "";
  for (const bool keep : {false, true}) {
    const auto cluster = Cluster::Start(options_);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    const std::string folder = (*cluster)->data_dir();
    EXPECT_TRUE(std::filesystem::exists(folder));
    if (keep) (*cluster)->KeepData();
    (*cluster)->Stop();
    EXPECT_EQ(std::filesystem::exists(folder), keep);
    std::filesystem::remove_all(folder);
  }
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
  Install("worker", absl::StrCat("case \"$@\" in *local-1*) kill -SEGV $$;; esac; ", kGoodWorker));
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(WaitForNotice(),
            "worker local-1 was killed by signal 11 (Segmentation fault); local-2 takes its place");
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
  const auto cluster = Cluster::Start(options_);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  failed_.WaitForNotification();
  EXPECT_THAT(std::string(failure_.message()), HasSubstr("after 10 restarts; it said nothing"));
}

TEST_F(ClusterTest, ACoordinatorThatGivesUpIsQuoted) {
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
