// Goal: `up` keeps to its own folder, outlives a full disk, and quotes what its coordinator just
// said. Method: the command with the real coordinator and no worker, on a small file system of its
// own, on folders of others, and with system calls that fail as on other file systems.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/lib/child_process.h"
#include "common/testing/small_disk.h"
#include "tests/cli/command.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class DataFolderTest : public ::testing::Test {
 protected:
  DataFolderTest()
      : folder_(TestPath(::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    // No worker is started, but it must be there.
    const std::string programs = folder_ + "/bin";
    std::filesystem::create_directories(programs);
    std::filesystem::create_symlink(std::filesystem::absolute("server/coordinator"),
                                    programs + "/coordinator");
    std::filesystem::create_symlink("/bin/false", programs + "/worker");
    setenv("EVOGRAD_BIN_DIR", programs.c_str(), 1);
  }

  std::string data_dir() const { return folder_ + "/data"; }
  std::string Arguments() const {
    return absl::StrCat("up --workers 0 --listen 127.0.0.1:0 --data-dir ", data_dir());
  }

  // `up` in the background; returns when it serves.
  void Up() {
    auto up =
        ChildProcess::Start({std::filesystem::absolute("client/cli/evograd"), "up", "--workers",
                             "0", "--listen", "127.0.0.1:0", "--data-dir", data_dir()},
                            folder_ + "/up.log");
    ASSERT_TRUE(up.ok()) << up.status();
    up_ = *std::move(up);
    WaitFor("Ctrl-C ends it");
    const std::string text = Read(folder_ + "/up.log");
    address_ = text.substr(0, text.find('\n'));
  }
  bool Said(const std::string& words) {
    return absl::StrContains(Read(folder_ + "/up.log"), words);
  }
  void WaitFor(const std::string& words) {
    while (!Said(words)) {
      ASSERT_FALSE(up_->WaitForEnd(absl::Milliseconds(20))) << Read(folder_ + "/up.log");
    }
  }
  Outcome Submit(const std::string& name) {
    const std::string file = WriteFile(
        "job.yaml", "problem: {toy1d: {x_at_optimum: true}}\nsteps: 20\nmax_workers: 1\n");
    return Evograd(absl::StrCat("submit ", file, " --name ", name, " --coordinator ", address_));
  }

  const std::string folder_;
  std::unique_ptr<ChildProcess> up_;
  std::string address_;
};

// First: it needs a process without threads.
TEST_F(DataFolderTest, AFullDiskIsOutlived) {
  testing::SmallDisk disk(data_dir());
  if (!disk.mounted()) GTEST_SKIP() << disk.why_not();
  Up();
  ASSERT_EQ(Submit("before").exit_code, 0);
  ASSERT_TRUE(disk.Fill("theirs"));
  // Whether they are taken does not matter: one of them finds no room.
  for (int i = 0; i < 200 && !Said("it was started again"); ++i) {
    Submit(absl::StrCat("full-", i));
    ASSERT_FALSE(up_->WaitForEnd(absl::ZeroDuration())) << Read(folder_ + "/up.log");
  }
  WaitFor("it was started again");
  EXPECT_THAT(Read(folder_ + "/up.log"),
              AllOf(HasSubstr("the coordinator ended with exit code 1; it said:"),
                    HasSubstr("store.sqlite: its disk is full")));
  const Outcome after = Submit("after");
  EXPECT_EQ(after.exit_code, 0) << after.err;
  const Outcome list = Evograd("list --coordinator " + address_);
  EXPECT_THAT(list.out, AllOf(HasSubstr("before"), HasSubstr("after")));
  up_.reset();
}

TEST_F(DataFolderTest, AFolderOfSomebodyElseStaysAsItIs) {
  std::filesystem::create_directories(data_dir() + "/checkpoints/run1");
  std::ofstream(data_dir() + "/checkpoints/run1/model.pt") << "weights";
  const Outcome refused = Evograd(Arguments());
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("no coordinator's store in it, but it has checkpoints"),
                                 HasSubstr("Give a new or an empty folder")));
  EXPECT_EQ(Read(data_dir() + "/checkpoints/run1/model.pt"), "weights");
  EXPECT_FALSE(std::filesystem::exists(data_dir() + "/logs"));
}

TEST_F(DataFolderTest, AnEndInOrderLeavesOneStoreFile) {
  Up();
  ASSERT_EQ(Submit("one-job").exit_code, 0);
  up_->Signal(SIGTERM);
  ASSERT_TRUE(up_->WaitForEnd(absl::InfiniteDuration()));
  EXPECT_EQ(up_->exit_code(), 0);
  for (const char* name : {"store.sqlite-wal", "store.sqlite-shm"})
    EXPECT_FALSE(std::filesystem::exists(absl::StrCat(data_dir(), "/", name))) << name;
}

TEST_F(DataFolderTest, AFileSystemWithoutLocksIsNamedAndNothingOldIsQuoted) {
  setenv("FLOCK_ERROR", std::to_string(ENOLCK).c_str(), 1);
  setenv("LD_PRELOAD", std::filesystem::absolute("server/libfaulty_calls.so").c_str(), 1);
  for (int i = 0; i < 2; ++i) {
    const Outcome refused = Evograd(Arguments());
    EXPECT_EQ(refused.exit_code, 1);
    const size_t first = refused.err.find("has no locks");
    ASSERT_NE(first, std::string::npos) << refused.err;
    EXPECT_EQ(refused.err.find("has no locks", first + 1), std::string::npos) << refused.err;
    EXPECT_THAT(refused.err, Not(HasSubstr("another coordinator")));
  }
  unsetenv("LD_PRELOAD");
  unsetenv("FLOCK_ERROR");
}

}  // namespace
}  // namespace evograd
