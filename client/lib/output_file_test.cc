// Goal: a file appears only when it is whole; devices, links and what others may not write are left
// what they are. Method: each kind of thing that can be at a path, in a folder of the test's own.
#include "client/lib/output_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace {
int synced_files = 0;
int synced_folders = 0;
}  // namespace

// In place of the C library's: what was synced.
extern "C" int fsync(int file) {
  struct stat info;
  if (fstat(file, &info) != 0) return -1;
  if (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)) {
    errno = EINVAL;
    return -1;
  }
  (S_ISDIR(info.st_mode) ? synced_folders : synced_files) += 1;
  return 0;
}

namespace evograd {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class OutputFileTest : public ::testing::Test {
 protected:
  OutputFileTest()
      : folder_(std::string(std::getenv("TEST_TMPDIR")) + "/" +
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::create_directories(folder_);
  }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  int CountFiles() const {
    return static_cast<int>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static absl::Status Put(const std::string& path, const std::string& text) {
    auto file = OutputFile::Open(path);
    if (!file.ok()) return file.status();
    const absl::Status written = (*file)->Write(text);
    return written.ok() ? (*file)->Finish() : written;
  }

  const std::string folder_;
};

TEST_F(OutputFileTest, AppearsWhenItIsWhole) {
  const std::string path = Path("file");
  {
    auto file = OutputFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Write("abc").ok());
    EXPECT_FALSE(fs::exists(path));
    EXPECT_EQ(Read((*file)->part_path()), "abc");
    ASSERT_TRUE((*file)->Finish().ok());
  }
  EXPECT_EQ(Read(path), "abc");
  // The bytes and the name.
  EXPECT_EQ(synced_files, 1);
  EXPECT_EQ(synced_folders, 1);
  // One that is given up leaves the old one, and nothing else.
  {
    auto file = OutputFile::Open(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Write("other").ok());
  }
  EXPECT_EQ(Read(path), "abc");
  EXPECT_EQ(CountFiles(), 1);
}

TEST_F(OutputFileTest, AnEndAtOnceLeavesNothingUnfinished) {
  const std::string whole = Path("whole"), part = Path("part"), given_up = Path("given-up");
  const auto end_at_once = [&] {
    ASSERT_TRUE(Put(whole, "abc").ok());
    OutputFile::Open(given_up).IgnoreError();
    const auto first = OutputFile::Open(part), second = OutputFile::Open(part + "2");
    ASSERT_TRUE((*first)->Write("abc").ok());
    ASSERT_TRUE(fs::exists((*first)->part_path()) && fs::exists((*second)->part_path()));
    OutputFile::RemoveUnfinished();
    _exit(0);
  };
  EXPECT_EXIT(end_at_once(), ::testing::ExitedWithCode(0), "");
  EXPECT_EQ(Read(whole), "abc");
  EXPECT_EQ(CountFiles(), 1);
}

TEST_F(OutputFileTest, DevicesAreWrittenToAndStayDevices) {
  // One of the test's own, so that nothing is lost where it goes wrong; without the right to make
  // one, the machine's.
  std::string path = Path("null");
  if (mknod(path.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0 ||
      open(path.c_str(), O_WRONLY | O_CLOEXEC) < 0) {
    path = "/dev/null";
  }
  if (path == "/dev/null" && geteuid() == 0) GTEST_SKIP() << "no device may be made or risked";
  ASSERT_TRUE(Put(path, "abc").ok()) << Put(path, "abc");
  struct stat info;
  ASSERT_EQ(lstat(path.c_str(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST_F(OutputFileTest, PipesAreWrittenToAndStayPipes) {
  const std::string path = Path("pipe");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::string text;
  std::thread reader([&] { text = Read(path); });
  EXPECT_TRUE(Put(path, "abc").ok());
  reader.join();
  EXPECT_EQ(text, "abc");
  EXPECT_TRUE(fs::is_fifo(path));
  EXPECT_EQ(CountFiles(), 1);
}

TEST_F(OutputFileTest, TheTargetOfALinkIsReplaced) {
  std::ofstream(Path("target")) << "old";
  ASSERT_EQ(chmod(Path("target").c_str(), 0640), 0);
  fs::create_symlink("target", Path("link"));
  ASSERT_TRUE(Put(Path("link"), "new").ok());
  EXPECT_TRUE(fs::is_symlink(Path("link")));
  EXPECT_EQ(Read(Path("target")), "new");
  struct stat info;
  ASSERT_EQ(stat(Path("target").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640);

  fs::create_symlink("nothing", Path("dangling"));
  EXPECT_THAT(std::string(Put(Path("dangling"), "x").message()), HasSubstr("leads nowhere"));
  EXPECT_TRUE(fs::is_symlink(Path("dangling")));
}

TEST_F(OutputFileTest, WhatCannotBeIsSaidBeforeAnythingIsWritten) {
  fs::create_directory(Path("folder"));
  const absl::Status folder = OutputFile::Open(Path("folder")).status();
  EXPECT_EQ(folder.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(folder.message()), HasSubstr("Is a directory"));
  const absl::Status none = OutputFile::Open(Path("none/file")).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.message()),
              AllOf(HasSubstr("none/file"), HasSubstr("there is no folder " + Path("none/"))));
  EXPECT_FALSE(OutputFile::Open("").ok());
  EXPECT_FALSE(OutputFile::Open(Path("none/")).ok());
  if (geteuid() == 0) return;
  std::ofstream(Path("read-only")) << "mine";
  ASSERT_EQ(chmod(Path("read-only").c_str(), 0400), 0);
  EXPECT_FALSE(OutputFile::Open(Path("read-only")).ok());
}

TEST_F(OutputFileTest, TheStandardOutputIsNotReplaced) {
  std::ofstream(Path("redirected")) << "before ";
  const int file = open(Path("redirected").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  std::fflush(stdout);
  const int own = dup(STDOUT_FILENO);
  ASSERT_GE(dup2(file, STDOUT_FILENO), 0);
  auto output = OutputFile::Open(PathIn("-", "x"));
  const bool opened = output.ok();
  const bool written = opened && (*output)->Write("abc").ok() && (*output)->Finish().ok();
  dup2(own, STDOUT_FILENO);
  close(own);
  close(file);
  ASSERT_TRUE(opened) << output.status();
  EXPECT_TRUE(written);
  EXPECT_TRUE((*output)->is_standard_output());
  EXPECT_EQ(Read(Path("redirected")), "before abc");
  EXPECT_EQ(CountFiles(), 1);
}

TEST_F(OutputFileTest, FoldersTakeTheDefaultName) {
  fs::create_directory(Path("folder"));
  EXPECT_EQ(PathIn(Path("folder"), "x-1.safetensors"), Path("folder/x-1.safetensors"));
  EXPECT_EQ(PathIn("folder/", "x-1.safetensors"), "folder/x-1.safetensors");
  EXPECT_EQ(PathIn(Path("file"), "x-1.safetensors"), Path("file"));
  EXPECT_EQ(PathIn("", "x-1.safetensors"), "");
}

}  // namespace
}  // namespace evograd
