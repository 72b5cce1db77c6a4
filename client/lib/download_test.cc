// Goal: a file appears only when it is whole and right. Method: good bytes, and one thing wrong at
// a time.
#include "client/lib/download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "common/sha256.h"

// In place of the C library's: what was synced.
namespace {
int synced_files = 0;
int synced_folders = 0;
}  // namespace

extern "C" int fsync(int file) {
  struct stat info;
  if (fstat(file, &info) != 0) return -1;
  (S_ISDIR(info.st_mode) ? synced_folders : synced_files) += 1;
  return 0;
}

namespace evograd {
namespace {

using ::testing::HasSubstr;

std::string Path(const std::string& name) {
  return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
}

bool Exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

v1::Checkpoint Describe(const std::string& bytes) {
  v1::Checkpoint checkpoint;
  checkpoint.set_name("jobs/abcd/checkpoints/3");
  checkpoint.set_size_bytes(bytes.size());
  Sha256 hash;
  hash.Update(bytes);
  checkpoint.set_sha256(hash.HexDigest());
  return checkpoint;
}

TEST(DownloadTest, WholeFilesAppear) {
  const std::string path = Path("whole");
  auto download = Download::Start(Describe("abcdef"), path);
  ASSERT_TRUE(download.ok()) << download.status();
  ASSERT_TRUE((*download)->Write("abc").ok());
  EXPECT_FALSE(Exists(path));
  ASSERT_TRUE((*download)->Write("def").ok());
  ASSERT_TRUE((*download)->Finish().ok());
  std::stringstream bytes;
  bytes << std::ifstream(path).rdbuf();
  EXPECT_EQ(bytes.str(), "abcdef");
  // The bytes and the name.
  EXPECT_EQ(synced_files, 1);
  EXPECT_EQ(synced_folders, 1);
}

TEST(DownloadTest, DamagedFilesDoNot) {
  const std::string path = Path("damaged");
  for (const std::string bytes : {"abc", "abcdeX", "abcdefg"}) {
    auto download = Download::Start(Describe("abcdef"), path);
    ASSERT_TRUE(download.ok()) << download.status();
    absl::Status status = (*download)->Write(bytes);
    if (status.ok()) status = (*download)->Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << bytes;
    EXPECT_THAT(std::string(status.message()), HasSubstr("jobs/abcd/checkpoints/3"));
    download->reset();
    EXPECT_FALSE(Exists(path)) << bytes;
  }
}

TEST(DownloadTest, AFolderThatIsNotThereIsNamed) {
  const auto download = Download::Start(Describe("a"), Path("none/file"));
  EXPECT_EQ(download.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(download.status().message()), HasSubstr("none/file"));
}

}  // namespace
}  // namespace evograd
