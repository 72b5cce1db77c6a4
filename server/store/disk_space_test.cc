// Goal: uploads leave room for the log, the reserve is there when it is needed and comes back.
// Method: a disk whose figures the test sets, and a real folder for the reserve.
#include "server/store/disk_space.h"

#include <filesystem>

#include "common/data_folder.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DiskSpaceTest : public ::testing::Test {
 protected:
  DiskSpaceTest()
      : space_(dir_.path(), [this](const std::string& path, DiskSpace::Figures* figures) {
          *figures = path == dir_.path() ? store_ : checkpoints_;
          return known_;
        }) {}

  int64_t ReserveBytes() {
    const std::string path = dir_.path() + "/" + kReserveName;
    return std::filesystem::exists(path) ? static_cast<int64_t>(std::filesystem::file_size(path))
                                         : 0;
  }

  testing::TempDir dir_;
  bool known_ = true;
  DiskSpace::Figures store_{int64_t{1} << 40, int64_t{1} << 40, 1};
  DiskSpace::Figures checkpoints_{int64_t{1} << 40, int64_t{1} << 40, 1};
  DiskSpace space_;
};

TEST_F(DiskSpaceTest, UploadsLeaveRoomForTheLog) {
  checkpoints_.free_bytes = limits::kDiskFloorBytes + 1'000'000;
  EXPECT_TRUE(space_.CheckRoom("checkpoints", 1'000'000).ok());
  const absl::Status refused = space_.CheckRoom("checkpoints", 1'000'001);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("has 68.1 MB free"), HasSubstr("need 1.0 MB"),
                    HasSubstr("67.1 MB stay free")));
  // On a small disk the floor is a twentieth of it.
  checkpoints_.total_bytes = 8'000'000;
  checkpoints_.free_bytes = 1'400'000;
  EXPECT_TRUE(space_.CheckRoom("checkpoints", 1'000'000).ok());
  EXPECT_FALSE(space_.CheckRoom("checkpoints", 1'000'001).ok());
  // The log is elsewhere.
  checkpoints_.device = 2;
  EXPECT_TRUE(space_.CheckRoom("checkpoints", 1'400'000).ok());
  EXPECT_FALSE(space_.CheckRoom("checkpoints", 1'400'001).ok());
  known_ = false;
  EXPECT_TRUE(space_.CheckRoom("checkpoints", 1'400'001).ok());
}

TEST_F(DiskSpaceTest, TheReserveIsGivenUpOnAFullDiskAndMadeAgain) {
  store_.total_bytes = 8'000'000;
  store_.free_bytes = 2'000'000;
  EXPECT_FALSE(space_.MakeRoom());
  space_.KeepReserve();
  EXPECT_EQ(ReserveBytes(), 400'000);
  store_.free_bytes = 10'000;
  EXPECT_TRUE(space_.MakeRoom());
  EXPECT_EQ(ReserveBytes(), 0);
  // There is room only for the log.
  store_.free_bytes = 410'000;
  space_.KeepReserve();
  EXPECT_EQ(ReserveBytes(), 0);
  // Somebody made room while uploads went on.
  store_.free_bytes = 2'000'000;
  EXPECT_TRUE(space_.CheckRoom("checkpoints", 1).ok());
  EXPECT_EQ(ReserveBytes(), 400'000);
}

TEST_F(DiskSpaceTest, TheRealDiskHasFigures) {
  DiskSpace space(dir_.path());
  EXPECT_FALSE(space.MakeRoom());
  EXPECT_FALSE(space.CheckRoom(dir_.path(), int64_t{1} << 60).ok());
}

}  // namespace
}  // namespace evograd
