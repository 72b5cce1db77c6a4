// Goal: a regular file is read whole; anything else is refused at once. Method: files of this test.
#include "worker/data/file_bytes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>

namespace evograd {
namespace {

std::string Write(const std::string& bytes) {
  const std::string path = testing::TempDir() + "/bytes";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(FileBytesTest, ReadsUpToTheBound) {
  const std::string bytes(3 << 20, 'x');
  const std::string path = Write(bytes);
  EXPECT_EQ(ReadFileBytes(path, bytes.size()).value(), bytes);
  const auto read = ReadFileBytes(path, bytes.size() - 1);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(read.status().message().find(path + ": has more than the 3145727 bytes"),
            std::string::npos)
      << read.status();
  EXPECT_EQ(ReadFileBytes(Write(""), 10).value(), "");
}

TEST(FileBytesTest, OnlyRegularFilesAreRead) {
  EXPECT_EQ(ReadFileBytes(testing::TempDir(), 10).status().code(), absl::StatusCode::kDataLoss);
  const std::string pipe = testing::TempDir() + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ReadFileBytes(pipe, 10).status().code(), absl::StatusCode::kDataLoss);
  const auto none = ReadFileBytes(testing::TempDir() + "/none", 10);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(none.status().message().find("/none: cannot be read: No such file"), std::string::npos);
}

TEST(FileBytesTest, AWorkersOwnTroubleIsNoDamageOfTheFile) {
  for (const int error : {EMFILE, ENFILE, ENOMEM}) {
    EXPECT_EQ(FileReadError("f", error).code(), absl::StatusCode::kResourceExhausted) << error;
  }
  // None of these is the loss of a peer either.
  for (const int error : {EIO, ESTALE, ETIMEDOUT}) {
    EXPECT_EQ(FileReadError("f", error).code(), absl::StatusCode::kInternal) << error;
  }
  EXPECT_EQ(FileReadError("f", EACCES).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(FileReadError("f", EISDIR).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace evograd
