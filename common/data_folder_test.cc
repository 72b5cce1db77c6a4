// Goal: a folder is taken for a coordinator's only where it is empty, has its store, or its
// leftovers; what is somebody else's is named, and nothing is touched. Method: folders of every
// kind, each compared with itself afterwards.
#include "common/data_folder.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/folders.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The header of a database with so many pages of 4096 bytes.
std::string Database(uint32_t application, int pages = 2) {
  std::string bytes(static_cast<size_t>(4096 * pages), '\0');
  bytes.replace(0, 16, std::string("SQLite format 3\0", 16));
  bytes[16] = 0x10;
  for (int i = 0; i < 4; ++i)
    bytes[68 + static_cast<size_t>(i)] = static_cast<char>(application >> (24 - 8 * i));
  return bytes;
}

class DataFolderTest : public ::testing::Test {
 protected:
  DataFolderTest()
      : path_(absl::StrCat(std::getenv("TEST_TMPDIR"), "/",
                           ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(path_);
  }

  void Put(const std::string& name, const std::string& text = "") {
    const std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }
  void Empty() {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }

  // Every name below the folder.
  std::map<std::string, uintmax_t> Contents() {
    std::map<std::string, uintmax_t> contents;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_))
      contents[entry.path()] = entry.is_regular_file() ? entry.file_size() : 0;
    return contents;
  }

  absl::Status Check() {
    const auto before = Contents();
    const absl::Status status = CheckDataFolder(path_);
    EXPECT_EQ(Contents(), before);
    return status;
  }
  std::string Message() { return std::string(Check().message()); }

  const std::string path_;
};

TEST_F(DataFolderTest, EmptyMissingAndLeftOnesAreTaken) {
  EXPECT_TRUE(Check().ok());
  EXPECT_TRUE(CheckDataFolder(path_ + "/none").ok());
  // A coordinator, and `up` around it, that ended before there was a store.
  Put("lock", "4711\n");
  Put("address", "127.0.0.1:7070\n");
  Put("address.4711");
  Put("address.4712", "unix:/tmp/evograd-abcdef/socket\n");
  Put("logs/coordinator.log", "x");
  Put("logs/local-12.log");
  Put("store.sqlite");
  Put(".evograd-new-store", "half");
  Put(".evograd-reserve", "000");
  std::filesystem::create_directories(path_ + "/checkpoints");
  std::filesystem::create_directories(path_ + "/lost+found");
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(DataFolderTest, WhatIsSomebodyElsesIsRefused) {
  for (const char* name :
       {"notes.txt", ".git/config", "checkpoints/run1/model.pt", "logs/training.log",
        "store.sqlite-wal", "checkpoints/11111111-0000-4000-8000-000000000000/5-0123456789abcdef",
        "Lock", "data", "socket"}) {
    Empty();
    Put(name, "mine");
    EXPECT_EQ(Check().code(), absl::StatusCode::kFailedPrecondition) << name;
    EXPECT_THAT(Message(), HasSubstr(path_)) << name;
  }
  // The same with a store is ours: what else lies there is left alone.
  Put("store.sqlite", Database(kStoreApplicationId));
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(DataFolderTest, TheRefusalNamesWhatWasFoundAndWhatToDo) {
  for (const char* name : {"a", "b", "c", "d", "e"}) Put(name);
  EXPECT_THAT(Message(), AllOf(HasSubstr("a, b, c and 2 more"), HasSubstr("nothing there was"),
                               HasSubstr("Give a new or an empty folder")));
  Empty();
  Put("checkpoints/run1/model.pt");
  EXPECT_THAT(Message(), HasSubstr("put its store.sqlite back"));
}

TEST_F(DataFolderTest, AForeignLockIsRefusedEvenBesideOurStore) {
  Put("lock", "mine\n");
  EXPECT_THAT(Message(), HasSubstr("lock was not written by a coordinator"));
  Put("store.sqlite", Database(kStoreApplicationId));
  EXPECT_THAT(Message(), HasSubstr("lock was not written by a coordinator"));
  std::filesystem::remove(path_ + "/lock");
  std::filesystem::create_directories(path_ + "/lock");
  EXPECT_FALSE(Check().ok());
  std::filesystem::remove(path_ + "/lock");
  EXPECT_TRUE(Check().ok());
  // A link would have its target overwritten.
  Put("target", "1\n");
  std::filesystem::create_symlink("target", path_ + "/lock");
  EXPECT_FALSE(Check().ok());
}

TEST_F(DataFolderTest, StoresAreToldApart) {
  const std::string store = path_ + "/store.sqlite";
  EXPECT_EQ(InspectStore(store).value(), StoreKind::kNone);
  Put("store.sqlite", Database(kStoreApplicationId));
  EXPECT_EQ(InspectStore(store).value(), StoreKind::kOurs);
  Put("store.sqlite", Database(0, 1));
  EXPECT_EQ(InspectStore(store).value(), StoreKind::kYoung);
  Put("store.sqlite", Database(0, 2));
  EXPECT_EQ(InspectStore(store).status().code(), absl::StatusCode::kFailedPrecondition);
  Put("store.sqlite", Database(7));
  EXPECT_THAT(Message(), HasSubstr("not written by EvoGrad's coordinator"));
  Put("store.sqlite", std::string(5000, 'x'));
  EXPECT_EQ(Check().code(), absl::StatusCode::kDataLoss);
  // A log without its store would be thrown away by SQLite.
  Put("store.sqlite");
  Put("store.sqlite-wal", "log");
  EXPECT_THAT(Message(), HasSubstr("put the store back beside its log"));
}

TEST_F(DataFolderTest, FoldersAreTheirOwnersAloneWhateverTheUmask) {
  const mode_t old = umask(0);
  EXPECT_TRUE(MakeFolders(path_ + "/a/b").ok());
  umask(0777);
  EXPECT_TRUE(MakeFolders(path_ + "/c/d").ok());
  umask(old);
  for (const char* name : {"/a", "/a/b", "/c", "/c/d"}) {
    struct stat info;
    ASSERT_EQ(stat((path_ + name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 07777, 0700) << name;
  }
  Put("file");
  EXPECT_EQ(MakeFolders(path_ + "/file").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(MakeFolders("/proc/none").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace evograd
