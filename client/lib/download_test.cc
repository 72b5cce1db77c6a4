// Goal: only what is stated becomes a file. Method: good bytes, and one thing wrong at a time.
#include "client/lib/download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "common/sha256.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<OutputFile> Open(const std::string& path) {
  auto file = OutputFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

std::string Path(const std::string& name) {
  return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
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
  const auto file = Open(path);
  Download download(Describe("abcdef"), file.get());
  ASSERT_TRUE(download.Write("abc").ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(download.Write("def").ok());
  ASSERT_TRUE(download.Finish().ok());
  std::stringstream bytes;
  bytes << std::ifstream(path).rdbuf();
  EXPECT_EQ(bytes.str(), "abcdef");
}

TEST(DownloadTest, DamagedFilesDoNot) {
  const std::string path = Path("damaged");
  for (const std::string bytes : {"abc", "abcdeX", "abcdefg"}) {
    const auto file = Open(path);
    Download download(Describe("abcdef"), file.get());
    absl::Status status = download.Write(bytes);
    if (status.ok()) status = download.Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << bytes;
    EXPECT_THAT(std::string(status.message()), HasSubstr("jobs/abcd/checkpoints/3"));
    EXPECT_FALSE(std::filesystem::exists(path)) << bytes;
  }
}

}  // namespace
}  // namespace evograd
