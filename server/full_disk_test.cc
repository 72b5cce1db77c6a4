// Goal: a coordinator starts on a full disk, whoever filled it, and loses nothing. Method: this
// process makes a mount namespace of its own with a file system of a few megabytes; the real
// program runs on it, is killed or stopped, and is started again when the last byte is taken.
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/testing/small_disk.h"
#include "server/store/testing/temp_dir.h"
#include "server/testing/coordinator_process.h"

namespace evograd {
namespace {

using testing::CoordinatorProcessTest;
using ::testing::HasSubstr;
using testing::SmallDisk;

struct OwnFolder {
  testing::TempDir dir_;
};

class FullDiskTest : private OwnFolder, public CoordinatorProcessTest {
 protected:
  FullDiskTest() : CoordinatorProcessTest(dir_.path()), disk_(data_dir()) {}

  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << disk_.why_not();
  }
  bool Exists(const std::string& name) { return std::filesystem::exists(data_dir() + "/" + name); }

  SmallDisk disk_;
};

// As an upload under way leaves it.
constexpr char kUnfinished[] =
    "checkpoints/11111111-0000-4000-8000-000000000000/5-0123456789abcdef.1.part";

TEST_F(FullDiskTest, ItsOwnUnfinishedUploadsGoFirst) {
  for (const int end : {SIGKILL, SIGTERM}) {
    auto child = Serve();
    ASSERT_TRUE(Create(absl::StrCat("job", end)).ok());
    const int jobs = CountJobs();
    child->End(end);
    ASSERT_TRUE(disk_.Fill(kUnfinished));
    child = Serve();
    EXPECT_EQ(CountJobs(), jobs);
    EXPECT_FALSE(Exists(kUnfinished));
    EXPECT_TRUE(Create(absl::StrCat("after", end)).ok());
    EXPECT_TRUE(Exists(".evograd-reserve"));
  }
}

TEST_F(FullDiskTest, CheckpointsThatNoRecordNamesGoWithoutWriting) {
  for (const int end : {SIGKILL, SIGTERM}) {
    auto child = Serve();
    v1::Job job;
    ASSERT_TRUE(Create(absl::StrCat("job", end), &job).ok());
    const int jobs = CountJobs();
    child->End(end);
    // As an earlier version left it, without a reserve.
    std::filesystem::remove(data_dir() + "/.evograd-reserve");
    const std::string orphan = absl::StrCat("checkpoints/", job.uid(), "/0-0123456789abcdef");
    ASSERT_TRUE(disk_.Fill(orphan));
    child = Serve();
    EXPECT_EQ(CountJobs(), jobs);
    EXPECT_FALSE(Exists(orphan));
  }
}

TEST_F(FullDiskTest, WhatOthersPutThereStaysAndTheReserveIsUsed) {
  for (const int end : {SIGKILL, SIGTERM}) {
    auto child = Serve();
    ASSERT_TRUE(Create(absl::StrCat("job", end)).ok());
    const int jobs = CountJobs();
    child->End(end);
    ASSERT_TRUE(disk_.Fill("theirs"));
    for (int start = 0; start < 3; ++start) {
      child = Serve();
      if (start == 0) {
        EXPECT_THAT(notices_, HasSubstr("is full or nearly so"));
      }
      EXPECT_EQ(CountJobs(), jobs);
      EXPECT_TRUE(Exists("theirs"));
      EXPECT_FALSE(Exists(".evograd-reserve"));
      child->End(end);
    }
    std::filesystem::remove(data_dir() + "/theirs");
    child = Serve();
    EXPECT_TRUE(Exists(".evograd-reserve"));
  }
}

}  // namespace
}  // namespace evograd
